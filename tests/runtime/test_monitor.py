"""One word for the whole runtime, and it is about consuming, not about being alive."""

import pytest

from tests.runtime.helpers import QUEUE, Gated, Scene, configured
from vtasks_asgi.runtime.config import PoolConfig
from vtasks_asgi.runtime.health import Status
from vtasks_asgi.runtime.monitor import STALLED_AFTER

LONG = STALLED_AFTER + 1.0


async def test_a_queue_that_makes_no_progress_degrades() -> None:
    scene = Scene(config=configured(PoolConfig((QUEUE,), 2)))
    gate = scene.store.hold("claim")
    async with scene.alive():
        await gate.reached.wait()
        assert scene.runtime.health().status is Status.OK, "not yet"
        scene.fake.advance(LONG)
        health = scene.runtime.health()
        assert (health.status, health.problems) == (Status.DEGRADED, [f"{QUEUE}_stalled"])
        assert health.queues[QUEUE].idle_for == LONG
        assert not health.ready
        gate.opened.set()
        await scene.recorder.until("claimed")
        assert scene.runtime.health().problems == []


async def test_a_queue_whose_slots_are_all_busy_is_not_stalled() -> None:
    scene = Scene(Gated(), config=configured(PoolConfig((QUEUE,), 1), PoolConfig(("b",), 1)))
    await scene.push()
    async with scene.alive():
        await scene.script.until_began()
        await scene.recorder.until("claimed", 2)
        scene.fake.advance(LONG)
        health = scene.runtime.health()
        assert health.problems == ["b_stalled"]
        assert health.queues[QUEUE].running == 1
        assert health.queues["b"].running == 0


async def test_the_first_round_is_waited_for_as_well() -> None:
    scene = Scene()
    scene.store.fail("claim", times=1000)
    async with scene.alive():
        await scene.recorder.until("service_failed")
        scene.fake.advance(LONG)
        assert f"{QUEUE}_stalled" in scene.runtime.health().problems


@pytest.mark.parametrize(
    ("verb", "problem"),
    [("claim", "fetch-0_failing"), ("reclaim", "reclaim_failing"), ("stats", "sample_failing")],
)
async def test_a_failing_service_degrades(verb: str, problem: str) -> None:
    scene = Scene()
    scene.store.fail(verb, times=1000)
    async with scene.alive():
        await scene.recorder.until("service_failed")
        health = scene.runtime.health()
        assert (health.status, health.problems) == (Status.DEGRADED, [problem])


async def test_what_failed_and_works_again_is_forgotten() -> None:
    scene = Scene()
    async with scene.alive():
        await scene.recorder.until("claimed")
        scene.events.service_failed("x", ValueError())
        assert scene.runtime.health().problems == ["x_failing"]
        scene.events.service_recovered("x")
        assert scene.runtime.health().status is Status.OK


async def test_stopping_outranks_problems() -> None:
    scene = Scene()
    async with scene.alive():
        await scene.recorder.until("claimed")
        scene.events.service_failed("x", ValueError())
        scene.runtime.stop()
        assert scene.runtime.health().status is Status.DRAINING
    assert scene.runtime.health().status is Status.STOPPED


async def test_numbers() -> None:
    scene = Scene(Gated(), config=configured(PoolConfig((QUEUE,), 1)))
    await scene.push(2)
    async with scene.alive():
        await scene.recorder.until("sampled")
        await scene.script.until_began()
        scene.fake.advance(3.0)
        health = scene.runtime.health()
        assert health.worker == "me"
        assert health.uptime == 3.0
        assert health.queues[QUEUE].idle_for == 3.0
        assert health.queues[QUEUE].oldest_ready is not None


async def test_a_runtime_that_has_ended_no_longer_listens() -> None:
    scene = Scene()
    async with scene.alive():
        await scene.recorder.until("claimed")
    scene.events.service_failed("x", ValueError())
    assert scene.runtime.health().problems == []
