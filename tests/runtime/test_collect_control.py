"""What operators do to messages of a batch queue: cancel what is collected, pause a task."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.runtime.collect_world import QUEUE, World
from tests.runtime.helpers import NOTHING, message
from tests.runtime.virtual_time import VirtualLoop
from vtasks_asgi.core.outcome import CANCELLED, Outcome, Retry
from vtasks_asgi.store.base import Claim, State


@pytest.fixture(autouse=True)
def runner() -> Iterator[asyncio.Runner]:
    """Time is free."""
    with asyncio.Runner(loop_factory=VirtualLoop) as it:
        yield it


async def test_what_is_collected_ends_at_once_and_the_others_become_a_batch() -> None:
    world = World()
    worker = await world.worker(count=3)
    async with worker.alive():
        first, second = await world.push(2)
        await asyncio.sleep(2.0)
        assert worker.held() == {first, second}
        peer = world.memory.twin()
        await peer.open()
        await peer.cancel([first])
        held = [each.claim for each in worker.executions.in_hand()]
        worker.executions.cancel(worker.store.cancelled(held))
        await worker.store.until_settled()
        await world.push(2)
        await worker.script.until_batches()
        assert worker.sizes == [3]
        assert first not in {claim.id for claim in worker.script.began}
    assert (await peer.lookup([first]))[first].reason == CANCELLED


async def test_the_call_of_a_batch_goes_on_and_what_was_cancelled_is_not_tried_again() -> None:
    gate = asyncio.Event()

    async def work(claim: Claim) -> Outcome:
        await gate.wait()
        return Retry(NOTHING, 0.0)

    world = World()
    worker = await world.worker(work=work, count=2)
    async with worker.alive():
        first, second = await world.push(2)
        await worker.script.until_began()
        peer = world.memory.twin()
        await peer.open()
        await peer.cancel([first])
        held = [each.claim for each in worker.executions.in_hand()]
        worker.executions.cancel(worker.store.cancelled(held))
        await asyncio.sleep(1.0)
        assert worker.script.ended == []
        gate.set()
        await worker.recorder.until("given_up")
        found = await peer.lookup([first, second])
        assert found[first].reason == CANCELLED
        assert found[second].state is not State.DEAD


async def test_messages_of_a_paused_task_are_not_collected() -> None:
    world = World()
    peer = world.memory.twin()
    await peer.open()
    await peer.pause_task("b.task")
    worker = await world.worker(count=2)
    async with worker.alive():
        paused = [message(QUEUE, task="b.task") for _ in range(3)]
        await peer.push(paused)
        await world.push(2)
        await worker.script.until_batches()
        assert [
            claim.id for claim in worker.script.began if claim.id in {m.id for m in paused}
        ] == []
        assert worker.sizes == [2]
        await peer.resume_task("b.task")
        await worker.script.until_batches(3)
        assert worker.sizes == [2, 2, 1]


async def test_a_paused_batch_queue_is_not_collected() -> None:
    world = World()
    peer = world.memory.twin()
    await peer.open()
    await peer.pause(QUEUE)
    worker = await world.worker(count=2)
    async with worker.alive():
        await world.push(4)
        await asyncio.sleep(30.0)
        assert (worker.sizes, worker.held()) == ([], set())
        await peer.resume(QUEUE)
        await worker.script.until_batches(2)
