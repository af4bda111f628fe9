"""Batches in a whole runtime: leases, slots shared with single messages, stop, health."""

import asyncio
from typing import Any

import pytest

from tests.runtime.helpers import (
    QUEUE,
    Gated,
    Scene,
    Work,
    configured,
    turns,
)
from vtasks_asgi.core.batch import Batch
from vtasks_asgi.core.clock import SystemClock
from vtasks_asgi.core.outcome import Outcome
from vtasks_asgi.runtime import leases
from vtasks_asgi.runtime.config import PoolConfig
from vtasks_asgi.runtime.monitor import STALLED_AFTER
from vtasks_asgi.store.base import Claim, State

BATCHED = "batched"
LONG = 3600.0


def scene(work: Work | None = None, *, slots: int = 2, count: int = 3, **options: Any) -> Scene:
    """One pool, shared by a queue of single messages and one of batches."""
    pool = PoolConfig((QUEUE, BATCHED), slots)
    clock = options.pop("clock", None)
    config = configured(pool, batches={BATCHED: Batch(count, LONG)}, **options)
    return Scene(*[work] if work else [], config=config, clock=clock)


async def collected(scene: Scene, count: int) -> None:
    """Until so many messages of the batch queue are in a worker's hands."""
    peer = await scene.store.peer()
    while (await peer.stats([BATCHED]))[BATCHED].running < count:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await turns()


async def test_either_kind_of_queue_is_consumed() -> None:
    world = scene()
    async with world.alive():
        await world.push(3, BATCHED)
        await world.push(2)
        await world.script.until_ended(5)
        await world.store.until_settled(5)
    assert [len(claims) for claims in world.script.batches] == [3]


@pytest.mark.slow
async def test_the_lease_of_what_is_collected_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "PING_EVERY", 0.005)
    world = scene(clock=SystemClock(), lease=1.0, reclaim_every=0.01)
    ids = await world.push(2, BATCHED)
    async with world.alive():
        await collected(world, 2)
        await asyncio.sleep(3.2)  # more than three leases
        for id in ids:
            record = await world.store.record(id)
            assert (record.state, record.crashes) == (State.RUNNING, 0)
        await world.push(1, BATCHED)
        await world.script.until_ended(3)
    assert not world.recorder.all("reclaimed")
    assert world.store.calls["extend"] > 2


async def test_a_lease_lost_while_collecting_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "PING_EVERY", 0.005)
    world = scene(lease=2.0)
    [lost] = await world.push(1, BATCHED)
    async with world.alive():
        await collected(world, 1)
        peer = await world.store.peer()
        world.fake.advance(2.5)
        [claim] = await peer.reclaim(BATCHED, 1, worker="other", lease=60.0)
        await world.recorder.until("stale")
        rest = await world.push(3, BATCHED)
        await world.script.until_batches()
    assert claim.id == lost
    assert [claim.id for claim in world.script.batches[0]] == rest


async def test_single_messages_do_not_keep_a_batch_from_running() -> None:
    """A backlog that fills every slot again as soon as it is free."""
    gate = Gated()
    world = scene(gate, slots=2)
    await world.push(50)
    async with world.alive():
        await world.script.until_began(2)
        await world.push(3, BATCHED)
        await turns()
        for count in range(3, 20):
            gate.release()
            await world.script.until_began(count)
            if world.script.batches:
                break
        assert world.script.batches
        assert world.script.most <= 2
        gate.release(100)
        await world.script.until_ended(53)


async def test_batches_do_not_keep_single_messages_from_running() -> None:
    gate = Gated()
    world = scene(gate, slots=1, count=1)
    await world.push(50, BATCHED)
    async with world.alive():
        await world.script.until_began(1)
        await world.push(5)
        for count in range(2, 20):
            gate.release()
            await world.script.until_began(count)
        queues = [claim.queue for claim in world.script.began]
        assert queues.count(QUEUE) == 5
        gate.release(100)
        await world.script.until_ended(55)
    assert world.script.most == 1, "more ran than there are slots"


async def test_an_endless_run_of_quick_messages_leaves_a_slot_to_a_batch() -> None:
    """Each is over before anybody else gets a turn, and there are always more."""
    world = scene(slots=2)

    async def work(claim: Claim) -> Outcome:
        if claim.queue == QUEUE:
            await world.push(1)
        return await done(claim)

    done, world.script.work = world.script.work, work
    await world.push(4)
    async with world.alive():
        await world.script.until_began(50)
        await world.push(3, BATCHED)
        await world.script.until_batches()
        world.script.work = done


async def test_a_stop_gives_back_at_once_what_was_collected() -> None:
    gate = Gated()
    world = scene(gate, drain_timeout=60.0)
    running = await world.push(3, BATCHED)
    async with world.alive():
        await world.script.until_batches()
        waiting = await world.push(2, BATCHED)
        await collected(world, 5)
        world.runtime.stop()
        await world.store.until_settled(2)
        for id in waiting:
            record = await world.store.record(id)
            assert (record.state, record.attempt, record.crashes) == (State.READY, 0, 0)
        gate.release(3)
        await world.script.until_ended(3)
    for id in running:
        assert (await world.store.record(id)).state is State.DONE
    assert len(world.script.batches) == 1


async def test_a_batch_that_does_not_end_in_time_is_given_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = scene(Gated())
    ids = await world.push(3, BATCHED)
    async with world.alive():
        await world.script.until_batches()
    for id in ids:
        record = await world.store.record(id)
        assert (record.state, record.attempt) == (State.READY, 0)
    assert "Released 3 running message(s)" in caplog.text


async def test_a_queue_that_is_collected_is_healthy_and_one_that_hangs_is_not() -> None:
    world = scene()
    await world.push(1, BATCHED)
    async with world.alive():
        await collected(world, 1)
        await world.recorder.until("claimed", 2)
        assert world.runtime.health().problems == []
        assert set(world.runtime.health().queues) == {QUEUE, BATCHED}
        gate = world.store.hold("claim")
        await world.push(1, BATCHED)
        await gate.reached.wait()
        world.fake.advance(STALLED_AFTER + 1)
        assert f"{BATCHED}_stalled" in world.runtime.health().problems
        gate.opened.set()


async def test_a_fault_of_ours_gives_all_of_them_back_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(claim: Claim) -> Outcome:
        raise ValueError("a bug of ours")

    world = scene(work)
    ids = await world.push(3, BATCHED)
    async with world.alive():
        await world.store.until_settled(3)
    for id in ids:
        record = await world.store.record(id)
        assert (record.state, record.attempt) == (State.DELAYED, 0)
    assert "failed outside its task" in caplog.text
