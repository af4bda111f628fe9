"""Leases are kept from a thread: also while the loop is blocked, and only while they are ours."""

import asyncio
import threading
import time

import pytest

from tests.runtime.helpers import DONE, QUEUE, Gated, Scene, configured
from vtasks_asgi.core.clock import SystemClock
from vtasks_asgi.core.outcome import Outcome
from vtasks_asgi.runtime import leases
from vtasks_asgi.store.base import Claim, State

#: The thread looks every quarter of a lease or ``PING_EVERY``, in real time.
OFTEN = 0.005


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "PING_EVERY", OFTEN)


def held(scene: Scene) -> int:
    return scene.store.calls["extend"]


async def test_a_blocked_loop_loses_no_lease_and_names_who_blocks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(leases, "BLOCKED_AFTER", 0.1)
    taken_over: list[Claim] = []

    async def work(claim: Claim) -> Outcome:
        time.sleep(1.8)  # noqa: ASYNC251 - more than two leases
        peer = await scene.store.peer()
        taken_over.extend(await peer.reclaim(QUEUE, 10, worker="peer", lease=30.0))
        return DONE

    scene = Scene(work, clock=SystemClock(), config=configured(lease=0.8, reclaim_every=3600.0))
    [id] = await scene.push()
    async with scene.alive():
        await scene.store.until_settled()
        worst, *_ = sorted(await scene.recorder.until("loop_lag"), reverse=True)
        while worst[0] < 1.0 or scene.runtime.health().loop_lag >= worst[0]:
            told = await scene.recorder.until("loop_lag", len(scene.recorder.all("loop_lag")) + 1)
            worst = max(told)
    assert taken_over == []
    assert held(scene) >= 2
    assert (await scene.store.record(id)).state is State.DONE
    assert not scene.recorder.all("stale")
    assert worst[1] == "a.task"
    assert [r for r in caplog.records if "blocked" in r.msg and "a.task" in r.getMessage()]


async def test_a_loop_blocked_by_others_accuses_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BLOCKED_AFTER", 0.02)
    scene = Scene(Gated(), clock=SystemClock())
    await scene.push()
    async with scene.alive():
        await scene.recorder.until("loop_lag")
        told = len(scene.recorder.all("loop_lag"))
        time.sleep(0.2)  # noqa: ASYNC251 - the test itself is in the way
        await scene.recorder.until("loop_lag", told + 1)
    assert max(scene.recorder.all("loop_lag")) == (pytest.approx(0.2, abs=5.0), "unknown")


async def test_a_lease_is_renewed_after_a_quarter_of_it_and_not_before() -> None:
    scene = Scene(Gated(), config=configured(lease=30.0, reclaim_every=3600.0))
    await scene.push()
    async with scene.alive():
        await scene.script.until_began()
        await scene.recorder.until("loop_lag")  # the thread has had its first look
        scene.fake.advance(7.0)
        await scene.recorder.until("loop_lag", 5)
        assert held(scene) == 0
        scene.fake.advance(4.0)  # the thread looks every third of a lease
        await scene.store.changes.until(lambda: held(scene) == 1)
        scene.fake.advance(29.0)  # ten seconds after the first lease would have run out
        peer = await scene.store.peer()
        assert await peer.reclaim(QUEUE, 10, worker="peer", lease=30.0) == []


async def test_what_has_been_settled_is_renewed_no_more() -> None:
    scene = Scene(config=configured(lease=30.0, reclaim_every=3600.0))
    await scene.push()
    async with scene.alive():
        await scene.store.until_settled()
        scene.fake.advance(20.0)
        told = len(scene.recorder.all("loop_lag"))
        await scene.recorder.until("loop_lag", told + 3)
    assert held(scene) == 0


async def test_an_outcome_that_cannot_be_written_yet_keeps_its_lease() -> None:
    scene = Scene(config=configured(lease=30.0, reclaim_every=3600.0))
    [id] = await scene.push()
    gate = scene.store.hold("settle")
    async with scene.alive():
        await gate.reached.wait()
        scene.fake.advance(20.0)
        await scene.store.changes.until(lambda: held(scene) == 1)
        gate.opened.set()
        await scene.store.until_settled()
    assert (await scene.store.record(id)).state is State.DONE


async def test_a_lost_lease_cancels_the_task_settles_nothing_and_is_counted() -> None:
    scene = Scene(Gated(), config=configured(lease=30.0, reclaim_every=3600.0))
    [id] = await scene.push()
    gate = scene.store.hold("extend")
    async with scene.alive():
        await scene.script.until_began()
        scene.fake.advance(31.0)
        await gate.reached.wait()
        peer = await scene.store.peer()
        assert len(await peer.reclaim(QUEUE, 10, worker="peer", lease=30.0)) == 1
        gate.opened.set()
        await scene.script.until_ended()
    assert [[claim.id for claim in lost] for (lost,) in scene.recorder.all("stale")] == [[id]]
    assert scene.store.settlements == []
    record = await scene.store.record(id)
    assert (record.state, record.worker) == (State.RUNNING, "peer")


@pytest.mark.parametrize("lease", [1.0, 30.0])
async def test_a_renewal_that_fails_is_repeated_in_time(
    lease: float, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(Gated(), config=configured(lease=lease, reclaim_every=3600.0))
    await scene.push()
    scene.store.fail("extend")
    async with scene.alive():
        await scene.script.until_began()
        scene.fake.advance(lease / 2)
        await scene.store.changes.until(lambda: held(scene) == 1)
        scene.fake.advance(lease / 3 + 0.01)
        await scene.store.changes.until(lambda: held(scene) == 2)
        scene.fake.advance(lease / 2)
        peer = await scene.store.peer()
        assert await peer.reclaim(QUEUE, 10, worker="peer", lease=lease) == []
    assert "Leases could not be renewed" in caplog.text
    assert not scene.recorder.all("service_failed")


async def test_a_bug_in_the_thread_restarts_it() -> None:
    scene = Scene(Gated(), config=configured(lease=30.0, reclaim_every=3600.0))
    await scene.push()
    scene.store.fail("extend", error=ValueError("a bug"))
    async with scene.alive():
        await scene.script.until_began()
        scene.fake.advance(11.0)
        [(service, error)] = await scene.recorder.until("service_failed")
        await scene.store.changes.until(lambda: held(scene) == 2)
    assert (service, str(error)) == ("leases", "a bug")


async def test_the_thread_ends_with_its_service() -> None:
    scene = Scene()
    async with scene.alive():
        await scene.recorder.until("loop_lag")
        [thread] = [t for t in threading.enumerate() if t.name == "vtasks-leases"]
    await asyncio.to_thread(thread.join, 10.0)
    assert not thread.is_alive()
