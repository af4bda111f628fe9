"""Paused queues and tasks, as a worker sees them."""

import asyncio

import pytest

from tests.fakes import FakeClock
from tests.runtime.helpers import QUEUE, Gated, Recorder, Scene, configured, message, turns
from vtasks_asgi.core.envelope import Call, encode
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.outcome import Release
from vtasks_asgi.runtime import pauses
from vtasks_asgi.runtime.config import PoolConfig
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.pauses import LONGEST, RATE, SHORTEST, Pauses
from vtasks_asgi.runtime.settle import Settler
from vtasks_asgi.store.base import Claim, State
from vtasks_asgi.store.memory import MemoryStore


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "LOOK_EVERY", 0.01)


async def push(scene: Scene, task: str) -> str:
    """A message of that task, from another process."""
    pushed = message(task=task)
    await (await scene.store.peer()).push([pushed])
    return pushed.id


async def given_back(scene: Scene, id: str) -> None:
    """Until it waits again."""
    async with asyncio.timeout(20.0):
        while (await scene.store.record(id)).state is not State.DELAYED:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_messages_of_a_paused_task_are_given_back_without_an_attempt() -> None:
    scene = Scene()
    peer = await scene.store.peer()
    await peer.pause_task("a.task")
    paused, other = await push(scene, "a.task"), await push(scene, "b.task")
    async with scene.alive():
        await scene.script.until_ended()
        await given_back(scene, paused)
        found = await scene.store.record(paused)
        assert found.attempt == 0
        assert found.run_at == pytest.approx(scene.fake.now() + SHORTEST, abs=0.1)
        assert scene.recorder.all("given_back") == [("a.task", QUEUE, 1)]
        assert scene.recorder.all("task_paused") == [("a.task", True)]
        await peer.resume_task("a.task")
        await scene.recorder.until("task_paused", 2)
        scene.fake.advance(SHORTEST + 0.1)
        await scene.script.until_ended(2)
    assert scene.recorder.all("task_paused")[1] == ("a.task", False)
    assert [claim.id for claim in scene.script.began] == [other, paused]
    assert (await scene.store.record(paused)).state is State.DONE


async def test_what_runs_goes_on() -> None:
    gated = Gated()
    scene = Scene(gated)
    running = await push(scene, "a.task")
    async with scene.alive():
        await scene.script.until_began()
        await (await scene.store.peer()).pause_task("a.task")
        await scene.recorder.until("task_paused")
        gated.release()
        await scene.store.until_settled()
    assert (await scene.store.record(running)).state is State.DONE


async def test_nothing_begins_before_it_is_known_what_is_paused() -> None:
    scene = Scene()
    await (await scene.store.peer()).pause_task("a.task")
    paused = await push(scene, "a.task")
    gate = scene.store.hold("paused_tasks")
    async with scene.alive():
        await gate.reached.wait()
        await turns()
        assert scene.store.claimed == []
        gate.opened.set()
        await given_back(scene, paused)
    assert scene.script.began == []


async def test_an_outage_changes_nothing_of_what_is_known() -> None:
    scene = Scene()
    await (await scene.store.peer()).pause_task("a.task")
    async with scene.alive():
        await scene.recorder.until("task_paused")
        scene.store.fail("paused_tasks", times=3)
        await scene.recorder.until("service_failed")
        paused = await push(scene, "a.task")
        await given_back(scene, paused)
    assert scene.script.began == []


async def test_one_that_cannot_be_read_begins_and_shows_it() -> None:
    scene = Scene()
    await (await scene.store.peer()).pause_task("a.task")
    await (await scene.store.peer()).push([Message(new_id(), QUEUE, b"damaged")])
    async with scene.alive():
        await scene.script.until_ended()


def claim(task: str = "a.task") -> Claim:
    return Claim(new_id(), QUEUE, encode(Call(task, [], {}, 0.0)), 0, "token", 1)


async def test_a_long_backlog_comes_back_at_a_rate_that_can_be_borne() -> None:
    clock, recorder = FakeClock(), Recorder()
    store = MemoryStore(clock=clock)
    await store.open()
    await store.pause_task("a.task")
    settler = Settler(store, Events())
    it = Pauses(store, settler, events=Events([recorder]), clock=clock)
    looking = asyncio.create_task(it.run())
    await it.wait_known()
    kept = claim("b.task")
    every = [claim() for _ in range(1000)]
    assert it.sift([*every, kept]) == [kept]
    assert recorder.all("given_back") == [("a.task", QUEUE, 1000)]
    outcomes = [settlement.outcome for settlement in settler._pending]
    delays = [outcome.delay for outcome in outcomes if isinstance(outcome, Release)]
    assert delays[0] == SHORTEST
    assert delays == sorted(delays)
    assert delays[-1] == pytest.approx(SHORTEST + 999 / RATE, abs=0.01)
    for _ in range(60):
        it.sift(every)
    last = settler._pending[-1].outcome
    assert isinstance(last, Release)
    assert last.delay == LONGEST
    looking.cancel()


async def test_a_paused_queue_costs_a_look_a_second_and_no_more() -> None:
    scene = Scene(config=configured(poll=60.0))
    await (await scene.store.peer()).pause(QUEUE)
    await scene.push(3)
    async with scene.alive():
        await scene.store.changes.until(lambda: bool(scene.store.waits))
        await turns()
        assert scene.store.waits == [([QUEUE], 60.0)]
        assert len(scene.store.claimed) == 1
        await (await scene.store.peer()).resume(QUEUE)
        await scene.script.until_ended(3)


async def test_a_worker_looks_again_when_the_pause_ends() -> None:
    scene = Scene(config=configured(poll=60.0))
    await (await scene.store.peer()).pause(QUEUE, scene.fake.now() + 20.0)
    async with scene.alive():
        await scene.store.changes.until(lambda: bool(scene.store.waits))
        assert scene.store.waits == [([QUEUE], 20.0)]


async def test_other_queues_of_the_pool_go_on() -> None:
    scene = Scene(config=configured(PoolConfig((QUEUE, "other"), 2)))
    await (await scene.store.peer()).pause(QUEUE)
    await scene.push()
    [id] = await scene.push(queue="other")
    async with scene.alive():
        await scene.script.until_ended()
        await turns()
    assert [claim.id for claim in scene.script.began] == [id]


async def test_what_is_found_of_queues_is_told_once() -> None:
    scene = Scene(config=configured(sample_every=0.01))
    peer = await scene.store.peer()
    async with scene.alive():
        await scene.recorder.until("sampled", 2)
        assert scene.recorder.all("queue_paused") == []
        await peer.pause(QUEUE)
        await scene.recorder.until("queue_paused")
        assert scene.runtime.health().queues[QUEUE].paused
        await scene.recorder.until("sampled", len(scene.recorder.all("sampled")) + 2)
        await peer.resume(QUEUE)
        await scene.recorder.until("queue_paused", 2)
    assert scene.recorder.all("queue_paused") == [(QUEUE, True), (QUEUE, False)]
