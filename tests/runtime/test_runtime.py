"""The life of a runtime: coming up, telling its health, leaving nothing behind."""

import asyncio
import contextvars
import logging
from typing import TYPE_CHECKING

import pytest

from tests.runtime.helpers import DONE, QUEUE, Gated, Scene, configured, turns
from vtasks_asgi.core.outcome import Outcome
from vtasks_asgi.runtime import runtime as runtime_module
from vtasks_asgi.runtime.active import current, runtime_of
from vtasks_asgi.runtime.health import Status
from vtasks_asgi.store.base import Claim, State

if TYPE_CHECKING:
    from vtasks_asgi.runtime.runtime import Runtime


async def test_a_store_that_is_down_at_the_start_is_tried_until_it_is_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    [id] = await scene.push()
    scene.store.fail("open", times=2)
    async with scene.alive():
        [(service, _)] = await scene.recorder.until("service_failed")
        assert service == "store"
        health = scene.runtime.health()
        assert (health.status, health.problems) == (Status.STARTING, ["store_failing"])
        assert not health.ready
        assert not scene.runtime.is_open
        await scene.script.until_ended()
        assert scene.recorder.all("service_recovered") == [("store",)]
        health = scene.runtime.health()
        assert (health.status, health.problems) == (Status.OK, [])
    assert (await scene.store.record(id)).state is State.DONE
    lines = [r.getMessage() for r in caplog.records if "task store" in r.getMessage()]
    assert len(lines) == 2, "one that it is down, one that it is there"


async def test_a_stop_does_not_wait_for_a_store_that_is_down() -> None:
    scene = Scene()
    scene.store.fail("open", times=1000)
    async with scene.alive():
        await scene.recorder.until("service_failed")
    assert scene.runtime.health().status is Status.STOPPED


async def test_health_tells_each_stage() -> None:
    gate = Gated()
    scene = Scene(gate, config=configured(drain_timeout=60.0))
    await scene.push()
    stages = [scene.runtime.health().status]
    async with scene.alive() as life:
        await scene.script.until_began()
        stages.append(scene.runtime.health().status)
        scene.runtime.close()
        stages.append(scene.runtime.health().status)
        gate.release()
        await life
    stages.append(scene.runtime.health().status)
    assert stages == [Status.STARTING, Status.OK, Status.DRAINING, Status.STOPPED]


async def test_tasks_find_their_runtime_and_nobody_else_does() -> None:
    seen: list[Runtime | None] = []

    async def work(claim: Claim) -> Outcome:
        seen.extend([current.get(), runtime_of("default"), runtime_of("other")])
        return DONE

    scene = Scene(work)
    await scene.push()
    async with scene.alive():
        await scene.script.until_ended()
        assert current.get() is None
        context = contextvars.copy_context()
        context.run(current.set, scene.runtime)
        assert context.run(runtime_of, "default") is scene.runtime
    assert seen == [scene.runtime, scene.runtime, None]
    assert context.run(runtime_of, "default") is None, "one that has ended serves nobody"


async def test_it_knows_its_own_loop() -> None:
    scene = Scene()
    assert not scene.runtime.is_mine()
    async with scene.alive():
        await scene.until_open()
        assert scene.runtime.is_mine()
        assert not await asyncio.to_thread(scene.runtime.is_mine)


async def test_outcomes_that_cannot_be_written_at_the_end_are_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runtime_module, "FLUSH_TIMEOUT", 0.05)
    scene = Scene()
    await scene.push(2)
    scene.store.fail("settle", times=1000)
    async with scene.alive():
        await scene.script.until_ended(2)
    assert "2 outcome(s) could not be written" in caplog.text
    assert scene.store.calls["aclose"] == 1


async def test_the_end_waits_for_the_last_outcomes() -> None:
    scene = Scene()
    [id] = await scene.push()
    gate = scene.store.hold("settle")
    async with scene.alive() as life:
        await gate.reached.wait()
        scene.runtime.close()
        await turns()
        assert not life.done()
        gate.opened.set()
    assert (await scene.store.record(id)).state is State.DONE


async def test_a_bug_while_opening_leaves_with_the_store_closed() -> None:
    scene = Scene()
    scene.store.fail("open", error=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await scene.run()
    assert scene.store.calls["aclose"] == 1
    assert scene.runtime.health().status is Status.STOPPED


async def test_cancelling_the_life_ends_everything_it_started() -> None:
    scene = Scene()
    before = asyncio.all_tasks()
    life = asyncio.create_task(scene.runtime.run())
    await scene.until_open()
    life.cancel()
    with pytest.raises(asyncio.CancelledError):
        await life
    assert asyncio.all_tasks() == before
    assert scene.store.calls["aclose"] == 1
    assert scene.script.closed


class Ticking:
    """Stands for the scheduler."""

    def __init__(self) -> None:
        self.last_ticks: dict[str, float] = {}
        self.failing: set[str] = set()
        self.running = False

    async def run(self) -> None:
        self.running = True
        try:
            await asyncio.Event().wait()
        finally:
            self.running = False


async def test_the_scheduler_runs_until_the_stop_and_its_ticks_are_in_health() -> None:
    cron = Ticking()
    scene = Scene(cron=cron)
    cron.last_ticks["nightly"] = scene.fake.now() - 90.0
    async with scene.alive():
        await scene.recorder.until("claimed")
        assert cron.running
        assert scene.runtime.health().ticks == {"nightly": 90.0}
        scene.runtime.stop()
        await turns()
        assert not cron.running


async def test_old_results_are_pruned_and_queues_looked_at() -> None:
    scene = Scene()
    ids = await scene.push()
    async with scene.alive():
        await scene.store.until_settled()
    scene.fake.advance(3601.0)
    again = Scene()
    again.store.store = again.store.memory = scene.memory
    async with again.alive():
        [(stats,)] = await again.recorder.until("sampled")
        await again.store.changes.until(lambda: bool(again.store.waits))
    assert set(stats) == {QUEUE}
    assert again.store.calls["prune"] == 1
    assert await (await scene.store.peer()).lookup(ids) == {}


async def test_an_uneventful_life_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    scene = Scene()
    await scene.push(3)
    async with scene.alive():
        await scene.store.until_settled(3)
    assert caplog.records == []
