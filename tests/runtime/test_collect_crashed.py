"""Collecting after a crash: what may have caused it runs alone, and others get their time."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.runtime.collect_world import QUEUE, World
from tests.runtime.helpers import DONE, Gated
from tests.runtime.virtual_time import VirtualLoop
from vtasks_asgi.core.batch import Batch
from vtasks_asgi.core.envelope import Call, encode
from vtasks_asgi.core.outcome import Outcome
from vtasks_asgi.runtime.collect import groups
from vtasks_asgi.store.base import Claim, State

TIMEOUT = 5.0


@pytest.fixture(autouse=True)
def runner() -> Iterator[asyncio.Runner]:
    """Time is free."""
    with asyncio.Runner(loop_factory=VirtualLoop) as it:
        yield it


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_messages_whose_worker_vanished_run_alone_one_after_the_other() -> None:
    world, gate = World(), Gated()
    worker = await world.worker(work=gate, count=5, slots=2)
    suspects = await world.crashed(3)
    async with worker.alive():
        for number in range(1, 4):
            await worker.script.until_batches(number)
            await world.push(5)
            await asyncio.sleep(5.0)
            [suspect] = worker.script.batches[-1]
            in_hand = {each.claim.id for each in worker.executions.in_hand()}
            assert in_hand == {suspect.id}, "it would take others with it if it crashed again"
            await world.memory.purge(QUEUE, State.READY)
            gate.release()
        await worker.script.until_ended(3)
    assert {claim.id for claim in worker.script.began} == set(suspects)
    assert worker.sizes == [1, 1, 1]


async def test_a_suspect_waits_until_the_batches_of_its_queue_have_ended() -> None:
    world, gate = World(), Gated()
    worker = await world.worker(work=gate, count=2, slots=2)
    await world.push(2)
    async with worker.alive():
        await worker.script.until_batches()
        [suspect] = await world.crashed()
        await asyncio.sleep(60.0)
        assert worker.sizes == [2]
        assert worker.collector.paused
        gate.release(2)
        await worker.script.until_batches(2)
        assert [claim.id for claim in worker.script.batches[1]] == [suspect]
        gate.release()
        await worker.script.until_ended(3)


async def slowly(claim: Claim) -> Outcome:
    await asyncio.sleep(1.0)
    return DONE


async def test_others_do_not_wait_until_all_suspects_have_run() -> None:
    world = World()
    worker = await world.worker(work=slowly, count=5)
    await world.crashed(40)
    fresh = await world.push(10)
    async with worker.alive():
        await asyncio.sleep(60.0)
        assert worker.sizes.count(5) == 2
        assert 20 <= worker.sizes.count(1) < 40, "half of the time"
        assert {record.state for record in await world.records(fresh)} == {State.DONE}
        await asyncio.sleep(60.0)
        assert worker.sizes.count(1) == 40


async def test_giving_way_to_suspects_does_not_put_off_the_timeout() -> None:
    world = World()
    worker = await world.worker(work=slowly)
    suspects = await world.crashed(30)
    await world.push()
    async with worker.alive():
        while all(b[0].id in suspects for b in worker.script.batches):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        assert TIMEOUT < now() < TIMEOUT + 5.0


async def test_workers_do_not_take_suspects_from_each_other_for_ever() -> None:
    world = World()
    workers = [await world.worker(count=50) for _ in range(3)]
    ids = await world.crashed(40)
    async with workers[0].alive(), workers[1].alive(), workers[2].alive():
        async with asyncio.timeout(60.0):
            # Any of the three may be the last.
            while any(r.state is not State.DONE for r in await world.records(ids)):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    assert {size for worker in workers for size in worker.sizes} == {1}


async def test_what_was_collected_gives_way_to_a_suspect_of_another_queue() -> None:
    world = World()
    worker = await world.worker()
    ids = await world.push(2)
    over = asyncio.Event()
    async with worker.alive():
        await asyncio.sleep(1.0)
        alone = asyncio.create_task(worker.suspects.alone(lambda: None, over.is_set))
        await asyncio.sleep(1.0)
        assert worker.executions.in_hand() == []
        assert [r.state for r in await world.records(ids)] == [State.READY] * 2
        assert worker.collector.paused
        over.set()
        await alone
        await worker.script.until_batches()
        assert worker.sizes == [2]


async def test_what_is_claimed_when_a_suspect_of_another_queue_begins_is_given_back() -> None:
    world = World()
    worker = await world.worker(count=2)
    await world.push(2)
    over, gate = asyncio.Event(), worker.store.hold("claim")
    async with worker.alive():
        await gate.reached.wait()
        alone = asyncio.create_task(worker.suspects.alone(lambda: None, over.is_set))
        await asyncio.sleep(0.1)
        gate.opened.set()
        await asyncio.sleep(5.0)
        assert (worker.sizes, worker.executions.in_hand()) == ([], [])
        over.set()
        await alone
        await worker.script.until_batches()


async def test_a_lone_run_is_settled_before_the_next_begins() -> None:
    """Unsettled it would be run again, and be charged with a crash that it had no part in."""
    world = World()
    worker = await world.worker()
    await world.crashed()
    gate = worker.store.hold("settle")
    async with worker.alive():
        await worker.script.until_ended()
        await world.crashed()
        await asyncio.sleep(0.5)
        assert (len(worker.executions.in_hand()), worker.sizes) == (1, [1])
        gate.opened.set()
        await worker.script.until_ended(2)


async def test_after_two_crashes_it_runs_alone_in_the_whole_runtime() -> None:
    world, gate = World(), Gated()
    worker = await world.worker(work=gate, count=2)
    await world.crashed(crashes=2)
    async with worker.alive():
        await worker.script.until_batches()
        assert not worker.suspects.clear
        gate.release()
        await worker.script.until_ended()
        await worker.suspects.wait_clear()


@pytest.mark.parametrize("crashes", [1, 2])
async def test_a_suspect_that_waits_when_the_worker_stops_is_given_back(crashes: int) -> None:
    world, gate = World(), Gated()
    worker = await world.worker(work=gate, count=2, slots=2)
    await world.push(2)
    async with worker.alive(drain=60.0):
        await worker.script.until_batches()
        [suspect] = await world.crashed(crashes=crashes)
        await asyncio.sleep(1.0)
        gate.release(2)
    [record] = await world.records([suspect])
    assert (record.state, record.attempt, record.crashes) == (State.READY, 0, crashes)


async def test_groups_are_one_a_task_and_one_for_each_suspect() -> None:
    calls = [("x.a", 0), ("x.b", 0), ("x.a", 1), ("x.a", 0), ("x.a", 2)]
    claims = [
        Claim(str(number), QUEUE, encode(Call(task, [], {}, 0.0)), 0, "t", 1, crashes)
        for number, (task, crashes) in enumerate(calls)
    ]
    own = await groups(Batch(10, 1.0), claims)
    assert [[claim.id for claim in group] for group in own] == [["0", "3"], ["1"], ["2"], ["4"]]
    common = await groups(Batch(10, 1.0, "x.all"), claims)
    assert [[claim.id for claim in group] for group in common] == [["0", "1", "3"], ["2"], ["4"]]
