"""Collecting: when a batch runs, what is in it, and that nothing collected is ever forgotten."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.runtime.collect_world import World
from tests.runtime.helpers import Gated, turns
from tests.runtime.virtual_time import VirtualLoop
from vtasks_asgi.runtime.collect import LOOK_PAUSE, SHARE_AFTER
from vtasks_asgi.store.base import State

TIMEOUT = 5.0


@pytest.fixture(autouse=True)
def runner() -> Iterator[asyncio.Runner]:
    """Time is free."""
    with asyncio.Runner(loop_factory=VirtualLoop) as it:
        yield it


def now() -> float:
    return asyncio.get_running_loop().time()


# -- when


async def test_a_full_batch_runs_at_once() -> None:
    world = World()
    worker = await world.worker(count=3)
    ids = await world.push(7)
    async with worker.alive():
        await worker.script.until_batches(2)
        assert worker.script.times == [0.0, 0.0]
        assert worker.sizes == [3, 3]
        assert [claim.id for claim in worker.script.began] == ids[:6]
        await worker.script.until_batches(3)
    assert worker.sizes == [3, 3, 1]


async def test_fewer_run_when_the_time_since_the_first_is_up() -> None:
    world = World()
    worker = await world.worker()
    async with worker.alive():
        await asyncio.sleep(10.0)
        await world.push()
        await asyncio.sleep(4.0)
        await world.push()
        await worker.script.until_batches()
        assert now() == pytest.approx(10.0 + TIMEOUT)
        assert worker.sizes == [2]


async def test_each_batch_has_its_own_time() -> None:
    world = World()
    worker = await world.worker()
    async with worker.alive():
        await world.push()
        await worker.script.until_batches()
        await asyncio.sleep(2.0)
        await world.push()
        await worker.script.until_batches(2)
        assert worker.script.times == pytest.approx([TIMEOUT, TIMEOUT + 2.0 + TIMEOUT])


async def test_one_that_gets_full_meanwhile_does_not_wait_for_its_time() -> None:
    world = World()
    worker = await world.worker()
    async with worker.alive():
        await world.push()
        await asyncio.sleep(2.0)
        await world.push(2)
        await worker.script.until_batches()
        assert 2.0 <= now() <= 2.0 + LOOK_PAUSE
        assert worker.sizes == [3]


async def test_below_the_minimum_they_wait_on_until_it_is_reached() -> None:
    world = World()
    worker = await world.worker(min_count=2)
    async with worker.alive():
        ids = await world.push()
        await asyncio.sleep(100.0)
        assert worker.sizes == []
        ids += await world.push()
        await worker.script.until_batches()
        assert worker.sizes == [2]
    assert {record.state for record in await world.records(ids)} == {State.DONE}
    assert {record.attempt for record in await world.records(ids)} <= {0, 1}


async def test_at_the_minimum_they_still_wait_for_their_time() -> None:
    world = World()
    worker = await world.worker(min_count=2)
    await world.push(2)
    async with worker.alive():
        await worker.script.until_batches()
        assert worker.script.times == pytest.approx([TIMEOUT])


async def test_workers_do_not_wait_for_each_other_with_a_part_each() -> None:
    world = World()
    here, there = await world.worker(min_count=2), await world.worker(min_count=2)
    async with here.alive(), there.alive():
        await asyncio.sleep(1.0)
        gate = here.store.hold("claim")
        [first] = await world.push()
        await asyncio.sleep(1.0)
        gate.opened.set()
        other = there.store.hold("claim")
        [second] = await world.push()
        await asyncio.sleep(1.0)
        assert (here.held(), there.held()) == ({second}, {first})
        other.opened.set()
        await here.script.until_batches()
        assert here.sizes == [2]
        assert now() < 3.0 + TIMEOUT + SHARE_AFTER + 2.0


async def test_a_message_delayed_joins_when_it_is_due() -> None:
    world = World()
    worker = await world.worker(count=2)
    await world.push(run_at=1_800_000_000.0 + 3.0)
    async with worker.alive():
        await world.push()
        await worker.script.until_batches()
        assert now() == pytest.approx(3.0 + LOOK_PAUSE / 2, abs=LOOK_PAUSE)
        assert worker.sizes == [2]


async def test_it_does_not_ask_for_every_message_that_comes_in() -> None:
    world = World()
    worker = await world.worker(count=1000, timeout=1.0)
    async with worker.alive():
        for _ in range(200):
            await world.push()
            await asyncio.sleep(0.004)
        await worker.script.until_batches()
    assert worker.sizes[0] == 200
    assert worker.store.calls["claim"] <= 25


# -- how many at once


async def test_nothing_is_collected_without_a_free_slot() -> None:
    world, gate = World(), Gated()
    worker = await world.worker(work=gate, count=2)
    ids = await world.push(5)
    async with worker.alive():
        await worker.script.until_batches()
        await asyncio.sleep(60.0)
        states = [record.state for record in await world.records(ids)]
        assert states == [State.RUNNING] * 2 + [State.READY] * 3
        gate.release(2)
        await worker.script.until_batches(2)
        assert worker.slots.busy == 1


async def test_as_many_batches_run_at_once_as_there_are_slots() -> None:
    world, gate = World(), Gated()
    worker = await world.worker(work=gate, count=2, slots=2)
    await world.push(6)
    async with worker.alive():
        await worker.script.until_batches(2)
        await asyncio.sleep(60.0)
        assert worker.sizes == [2, 2]
        gate.release(4)
        await worker.script.until_batches(3)


# -- which


async def test_each_task_gets_its_own_in_a_slot_of_its_own() -> None:
    world, gate = World(), Gated()
    worker = await world.worker(work=gate, count=4)
    first, second = await world.push(2, "a.one"), await world.push(2, "a.other")
    async with worker.alive():
        await worker.script.until_batches()
        await asyncio.sleep(60.0)
        assert [[claim.id for claim in claims] for claims in worker.script.batches] == [first]
        gate.release(2)
        await worker.script.until_batches(2)
        assert [claim.id for claim in worker.script.batches[1]] == second
        gate.release(2)
        await worker.script.until_ended(4)


async def test_a_task_of_the_queue_gets_them_all() -> None:
    world = World()
    worker = await world.worker(count=2, task="a.all")
    await world.push(1, "a.one")
    await world.push(1, "a.other")
    async with worker.alive():
        await worker.script.until_batches()
    assert worker.sizes == [2]


async def test_an_undecodable_message_hinders_nobody() -> None:
    world = World()
    worker = await world.worker(count=2)
    [bad], _ = await world.push(), await world.push()
    world.memory._entries[bad].record.body = b"\xff"
    async with worker.alive():
        await worker.script.until_batches(2)
    assert worker.sizes == [1, 1]


# -- whose lease is lost


async def test_what_is_lost_while_collected_does_not_run_and_leaves_its_place() -> None:
    world = World()
    worker = await world.worker(count=2)
    async with worker.alive():
        [lost] = await world.push()
        await asyncio.sleep(1.0)
        assert worker.held() == {lost}
        worker.executions.lose([each.claim for each in worker.executions.in_hand()])
        rest = await world.push(2)
        await worker.script.until_batches()
        assert [claim.id for claim in worker.script.batches[0]] == rest


async def test_after_a_loss_the_time_begins_anew() -> None:
    world = World()
    worker = await world.worker()
    async with worker.alive():
        await world.push()
        await asyncio.sleep(4.0)
        worker.executions.lose([each.claim for each in worker.executions.in_hand()])
        await asyncio.sleep(4.0)
        await world.push()
        await worker.script.until_batches()
        assert now() == pytest.approx(8.0 + TIMEOUT)


async def test_what_is_lost_while_it_runs_is_not_settled_and_the_others_are() -> None:
    world, gate = World(), Gated()
    worker = await world.worker(work=gate, count=2)
    ids = await world.push(2)
    async with worker.alive():
        await worker.script.until_batches()
        worker.executions.lose(worker.script.batches[0][:1])
        gate.release(2)
        await worker.store.until_settled()
    assert [record.state for record in await world.records(ids)] == [State.RUNNING, State.DONE]


async def test_a_batch_of_which_nothing_is_ours_any_more_is_cancelled() -> None:
    world = World()
    worker = await world.worker(work=Gated(), count=2)
    await world.push(2)
    async with worker.alive():
        await worker.script.until_batches()
        first, second = worker.script.batches[0]
        worker.executions.lose([first])
        await turns()
        assert worker.slots.busy == 1
        worker.executions.lose([second])
        await worker.script.until_ended()
        await turns()
        assert worker.slots.busy == 0
    assert worker.store.settlements == []


# -- at the end


async def test_a_stop_gives_back_what_was_collected_at_once() -> None:
    world = World()
    worker = await world.worker()
    ids = await world.push(2)
    async with worker.alive():
        await asyncio.sleep(1.0)
        assert worker.held() == set(ids)
        at = now()
    assert now() == at
    found = [(r.state, r.attempt, r.crashes) for r in await world.records(ids)]
    assert found == [(State.READY, 0, 0)] * 2
    assert worker.sizes == []


async def test_a_stop_while_a_batch_waits_for_a_slot_gives_back_what_does_not_run() -> None:
    world, gate = World(), Gated()
    worker = await world.worker(work=gate, count=2)
    running, waiting = await world.push(1, "a.one"), await world.push(1, "a.other")
    async with worker.alive(drain=10.0):
        await worker.script.until_batches()
        asyncio.get_running_loop().call_later(3.0, gate.release)
    states = [record.state for record in await world.records(running + waiting)]
    assert states == [State.DONE, State.READY]
    assert now() == 3.0


async def test_a_running_batch_that_ends_too_late_is_given_back() -> None:
    world = World()
    worker = await world.worker(work=Gated(), count=2)
    ids = await world.push(2)
    async with worker.alive(drain=1.0):
        await worker.script.until_batches()
    found = [(r.state, r.attempt, r.crashes) for r in await world.records(ids)]
    assert found == [(State.READY, 0, 0)] * 2


async def test_a_claim_in_flight_when_stopping_is_given_back() -> None:
    world = World()
    worker = await world.worker()
    ids = await world.push(2)
    gate = worker.store.hold("claim")
    async with worker.alive():
        await gate.reached.wait()
        asyncio.get_running_loop().call_later(0.1, gate.opened.set)
    found = [(r.state, r.attempt) for r in await world.records(ids)]
    assert found == [(State.READY, 0)] * 2
    assert worker.sizes == []


async def test_an_outage_gives_back_what_was_collected_and_ends() -> None:
    world = World()
    worker = await world.worker()
    ids = await world.push(2)
    async with worker.alive():
        await asyncio.sleep(1.0)
        worker.store.fail("claim")
        await worker.recorder.until("service_failed")
        assert worker.held() == set()
        await worker.script.until_ended(2)
    records = await world.records(ids)
    assert {record.state for record in records} == {State.DONE}


async def test_a_claim_that_cannot_be_settled_yet_stays_in_hand() -> None:
    """Its lease must be kept, or another worker would run it again."""
    world = World()
    worker = await world.worker(count=2)
    ids = await world.push(2)
    gate = worker.store.hold("settle")
    async with worker.alive():
        await worker.script.until_ended(2)
        await turns()
        assert {each.claim.id for each in worker.executions.in_hand()} == set(ids)
        gate.opened.set()
        await worker.store.until_settled(2)
        await turns()
        assert worker.executions.in_hand() == []
