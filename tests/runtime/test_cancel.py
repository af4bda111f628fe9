"""Cancelled messages: the worker learns of it, ends what it can, and runs none again."""

import asyncio

import pytest

from tests.runtime.helpers import DONE, NOTHING, QUEUE, Gated, Scene, configured, turns
from vtasks_asgi.core.outcome import CANCELLED, Dead, Outcome, Release, Retry
from vtasks_asgi.runtime import leases
from vtasks_asgi.runtime.suspects import SUSPECTED_AFTER
from vtasks_asgi.store.base import Claim, State


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "PING_EVERY", 0.005)


async def begun(scene: Scene, count: int = 1) -> list[str]:
    """So many more messages, which run."""
    before = len(scene.script.began)
    ids = await scene.push(count)
    await scene.script.until_began(before + count)
    return ids


async def cancel(scene: Scene, *ids: str) -> None:
    """From another process; and time passes, so that the worker may have learned of it."""
    await (await scene.store.peer()).cancel(ids)
    scene.fake.advance(leases.LOOK_AFTER + leases.LOOK_EVERY)


def looks(scene: Scene) -> int:
    return scene.store.calls["cancelled"]


async def until_looked(scene: Scene) -> None:
    """Until the thread has been round twice more, so that a look that was due is over."""
    told = len(scene.recorder.all("loop_lag"))
    await scene.recorder.until("loop_lag", told + 3)


async def test_what_runs_is_cancelled_and_settled_as_its_invoke_says() -> None:
    async def work(claim: Claim) -> Outcome:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert claim.cancelled
        return Dead(NOTHING, CANCELLED)

    scene = Scene(work)
    async with scene.alive():
        [id] = await begun(scene)
        await cancel(scene, id)
        await scene.store.until_settled()
    found = await scene.store.record(id)
    assert (found.state, found.reason) == (State.DEAD, CANCELLED)
    [([told],)] = scene.recorder.all("cancelled")
    assert told.id == id
    assert scene.recorder.all("given_up") == []


async def test_one_that_is_given_back_by_the_cancelling_is_a_dead_letter() -> None:
    scene = Scene(Gated())
    async with scene.alive():
        first, second = await begun(scene, 2)
        await cancel(scene, first)
        await scene.store.until_settled()
        assert [each.id for each in scene.script.ended] == [first]
        [(claim, task, dead)] = await scene.recorder.until("given_up")
        assert (claim.id, task, dead.reason) == (first, "a.task", CANCELLED)
        assert (await scene.store.record(second)).state is State.RUNNING
    assert (await scene.store.record(first)).reason == CANCELLED
    assert [claim.id for claim in scene.script.began] == [first, second]


@pytest.mark.parametrize("outcome", [Retry(NOTHING, 0.0), Release()])
async def test_a_retry_of_a_cancelled_message_is_a_dead_letter(outcome: Outcome) -> None:
    gate = asyncio.Event()

    async def work(claim: Claim) -> Outcome:
        await gate.wait()
        return outcome

    scene = Scene(work)
    async with scene.alive():
        [id] = await begun(scene)
        await (await scene.store.peer()).cancel([id])  # and the worker has not learned of it
        gate.set()
        await scene.recorder.until("given_up")
    assert (await scene.store.record(id)).reason == CANCELLED
    assert len(scene.script.began) == 1


async def test_what_runs_in_a_thread_is_told_and_not_touched() -> None:
    gated = Gated()
    scene = Scene(gated)
    scene.script.in_loop = False
    async with scene.alive():
        [id] = await begun(scene)
        await cancel(scene, id)
        await scene.recorder.until("cancelled")
        assert scene.script.began[0].cancelled
        assert scene.script.ended == []
        gated.release()
        await scene.store.until_settled()
    assert (await scene.store.record(id)).state is State.DONE


async def test_whoever_suppresses_the_cancellation_is_asked_once() -> None:
    asked = []
    gate = asyncio.Event()

    async def work(claim: Claim) -> Outcome:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                asked.append(claim.id)
        return DONE

    scene = Scene(work)
    async with scene.alive():
        [id] = await begun(scene)
        await cancel(scene, id)
        await scene.recorder.until("cancelled")
        scene.fake.advance(10.0)
        await until_looked(scene)
        assert asked == [id]
        gate.set()
        await scene.store.until_settled()
    assert len(scene.recorder.all("cancelled")) == 1
    assert (await scene.store.record(id)).state is State.DONE


async def test_nobody_asks_for_what_has_not_been_in_hand_for_a_second() -> None:
    scene = Scene(Gated())
    async with scene.alive():
        await begun(scene)
        await until_looked(scene)
        assert looks(scene) == 0
        scene.fake.advance(leases.LOOK_AFTER)
        await scene.store.changes.until(lambda: looks(scene) == 1)
        await until_looked(scene)
        assert looks(scene) == 1  # the clock stands still
        scene.fake.advance(leases.LOOK_EVERY)
        await scene.store.changes.until(lambda: looks(scene) == 2)


async def test_nobody_asks_when_nothing_is_in_hand() -> None:
    scene = Scene()
    await scene.push(3)
    async with scene.alive():
        await scene.store.until_settled(3)
        scene.fake.advance(10.0)
        await until_looked(scene)
    assert looks(scene) == 0


async def test_a_store_that_does_not_answer_is_asked_again() -> None:
    scene = Scene(Gated())
    scene.store.fail("cancelled", times=2)
    async with scene.alive():
        [id] = await begun(scene)
        await cancel(scene, id)
        for _ in range(3):
            await until_looked(scene)
            scene.fake.advance(leases.LOOK_EVERY)
        await scene.store.until_settled()
    assert (await scene.store.record(id)).reason == CANCELLED
    assert scene.recorder.all("service_failed") == []


async def test_what_a_dead_worker_held_is_given_up_when_it_was_cancelled() -> None:
    scene = Scene(config=configured(lease=30.0))
    [id, other] = await scene.push(2)
    peer = await scene.store.peer()
    await peer.claim(QUEUE, 2, worker="dead", lease=1.0)
    await peer.cancel([id])
    scene.fake.advance(2.0)
    async with scene.alive():
        await scene.script.until_ended()
        await scene.store.until_settled(3)
    found = await scene.store.record(id)
    assert (found.reason, found.crashes) == (CANCELLED, 1)
    assert [claim.id for claim in scene.script.began] == [other]


async def test_a_message_that_waits_for_its_turn_alone_ends_at_once() -> None:
    gated = Gated()
    scene = Scene(gated)
    async with scene.alive():
        [other] = await begun(scene)
        [suspect] = await scene.push()
        scene.memory._entries[suspect].record.crashes = SUSPECTED_AFTER
        while (await scene.store.record(suspect)).state is not State.RUNNING:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await turns()  # the claim has to arrive
        await cancel(scene, suspect)
        await scene.store.until_settled()
        assert (await scene.store.record(suspect)).reason == CANCELLED
        gated.release()
        [third] = await begun(scene, 1)
        gated.release()
    assert [claim.id for claim in scene.script.began] == [other, third]
