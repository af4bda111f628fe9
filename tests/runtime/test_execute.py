"""Running what was claimed: each way a run can end, and what the store is told of it."""

import asyncio
import contextvars
import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from tests.runtime.helpers import DONE, NOTHING, QUEUE, Gated, Scene, Work, configured, turns
from vtasks_asgi.core.batch import Batch
from vtasks_asgi.core.envelope import Call, encode
from vtasks_asgi.core.outcome import Dead, Done, Outcome, Release, Retry
from vtasks_asgi.runtime import execute
from vtasks_asgi.runtime.config import PoolConfig
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.execute import FAULT_PAUSE, Executions
from vtasks_asgi.runtime.settle import Settler
from vtasks_asgi.runtime.slots import Slots
from vtasks_asgi.store.base import Claim, State


@pytest.mark.parametrize(
    ("outcome", "state", "attempt"),
    [
        (Done(NOTHING, b"7", 60.0), State.DONE, 0),
        (Retry(NOTHING, 60.0), State.DELAYED, 1),
        (Release(60.0), State.DELAYED, 0),
        (Dead(NOTHING, "broken"), State.DEAD, 1),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_every_outcome_is_written(outcome: Outcome, state: State, attempt: int) -> None:
    async def work(claim: Claim) -> Outcome:
        return outcome

    scene = Scene(work)
    [id] = await scene.push()
    async with scene.alive():
        await scene.store.until_settled()
    record = await scene.store.record(id)
    assert record.state is state
    assert record.attempt == attempt or state is State.DONE
    assert (record.value, record.reason) == (
        getattr(outcome, "value", None),
        getattr(outcome, "reason", None),
    )


async def test_a_result_nobody_wants_leaves_no_trace() -> None:
    async def work(claim: Claim) -> Outcome:
        return Done(NOTHING, None, 0.0)

    scene = Scene(work)
    [id] = await scene.push()
    async with scene.alive():
        await scene.store.until_settled()
    assert await (await scene.store.peer()).lookup([id]) == {}


async def test_a_fault_of_ours_burns_no_attempt_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(claim: Claim) -> Outcome:
        raise ValueError("a bug of ours")

    scene = Scene(work)
    [id] = await scene.push()
    async with scene.alive():
        await scene.store.until_settled()
    record = await scene.store.record(id)
    assert (record.state, record.attempt) == (State.DELAYED, 0)
    assert record.run_at == scene.fake.now() + FAULT_PAUSE
    [line] = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert id in line.getMessage()
    assert line.exc_info


async def test_a_slot_is_free_again_however_a_run_ends() -> None:
    ends = iter(range(4))

    async def work(claim: Claim) -> Outcome:
        match next(ends):
            case 0:
                raise ValueError
            case 1:
                raise asyncio.CancelledError
            case 2:
                return Dead(NOTHING, "broken")
            case _:
                return DONE

    scene = Scene(work, config=configured(PoolConfig((QUEUE,), 1)))
    await scene.push(4)
    async with scene.alive():
        await scene.script.until_ended(4)


async def test_no_run_sees_what_another_left_in_its_context() -> None:
    name: ContextVar[str] = ContextVar("name", default="clean")
    seen: list[str] = []

    async def work(claim: Claim) -> Outcome:
        seen.append(name.get())
        name.set(claim.id)
        await asyncio.sleep(0)
        seen.append(name.get())
        return DONE

    scene = Scene(work)
    ids = await scene.push(3)
    async with scene.alive():
        await scene.script.until_ended(3)
    assert sorted(seen) == sorted(["clean"] * 3 + ids)


class Hand:
    """Executions alone; what they settle stays pending."""

    def __init__(self, scene: Scene) -> None:
        self.settler = Settler(scene.store, Events())
        self.slots = Slots(10)
        self.executions = Executions(
            scene.script, self.settler, scene.fake, contextvars.copy_context()
        )
        self.settler.settled = self.executions.settled

    def start(self, id: str) -> Claim:
        claim = Claim(id, QUEUE, b"", 0, f"token of {id}", 1)
        self.executions.start(claim, self.slots)
        return claim


async def test_a_task_that_never_waits_is_over_when_started() -> None:
    hand = Hand(Scene())
    hand.start("quick")
    assert (hand.executions.running, hand.slots.busy, hand.settler.pending) == (0, 0, 1)


async def test_a_claim_is_in_hand_until_the_store_has_answered() -> None:
    gate = Gated()
    hand = Hand(Scene(gate))
    claim = hand.start("slow")
    assert (hand.executions.running, hand.slots.busy) == (1, 1)
    gate.release()
    await turns()
    assert (hand.executions.running, hand.slots.busy) == (0, 0)
    assert [each.claim for each in hand.executions.in_hand()] == [claim], "its lease must be kept"
    hand.executions.settled(claim)
    assert hand.executions.in_hand() == []


async def test_the_same_message_claimed_anew_is_another_execution() -> None:
    hand = Hand(Scene(Gated()))
    first = hand.start("twice")
    second = Claim("twice", QUEUE, b"", 0, "another token", 2)
    hand.executions.start(second, hand.slots)
    hand.executions.lose([first])
    assert [each.claim for each in hand.executions.in_hand()] == [second]


async def test_a_lost_lease_cancels_the_task_and_settles_nothing() -> None:
    gate = Gated()
    scene = Scene(gate)
    hand = Hand(scene)
    claims = [hand.start("lost"), hand.start("kept")]
    hand.executions.lose(claims[:1])
    await scene.script.until_ended()
    assert scene.script.ended == claims[:1]
    assert hand.settler.pending == 0
    gate.release(2)
    await turns()
    assert hand.settler.pending == 1
    assert hand.slots.busy == 0


async def test_losing_what_is_over_or_unknown_changes_nothing() -> None:
    hand = Hand(Scene())
    claim = hand.start("over")
    hand.executions.lose([claim, Claim("unknown", QUEUE, b"", 0, "token", 1)])
    assert hand.settler.pending == 1


def stubborn(gate: asyncio.Event) -> Work:
    """As a sync task in its thread: cancellation does not stop it."""

    async def work(claim: Claim) -> Outcome:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                pass
        return DONE

    return work


async def test_what_ends_within_the_drain_is_settled_as_it_ended() -> None:
    gate = Gated()
    scene = Scene(gate, config=configured(drain_timeout=60.0))
    [id] = await scene.push()
    async with scene.alive():
        await scene.script.until_began()
        scene.runtime.close()
        await turns()
        gate.release()
    assert (await scene.store.record(id)).state is State.DONE


async def test_what_does_not_is_cancelled_and_given_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(Gated(), config=configured(drain_timeout=0.01))
    ids = await scene.push(2)
    async with scene.alive():
        await scene.script.until_began(2)
    assert len(scene.script.ended) == 2
    for id in ids:
        record = await scene.store.record(id)
        assert (record.state, record.attempt) == (State.READY, 0), "the attempt must not count"
    assert "Released 2 running message(s)" in caplog.text


async def test_a_task_that_ignores_cancellation_is_given_back_and_its_end_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(execute, "CANCEL_GRACE", 0.01)
    gate = asyncio.Event()
    scene = Scene(stubborn(gate))
    [id] = await scene.push()
    async with scene.alive():
        await scene.script.until_began()
    record = await scene.store.record(id)
    assert (record.state, record.attempt) == (State.READY, 0)
    gate.set()
    await scene.script.until_ended()
    await turns()
    assert [len(batch) for batch in scene.store.settlements] == [1]
    assert (await scene.store.record(id)).state is State.READY


async def test_a_task_that_ends_during_the_grace_is_still_given_back() -> None:
    """Its outcome was decided when the drain ended; a second one must not follow."""
    gate = asyncio.Event()
    scene = Scene(stubborn(gate))
    [id] = await scene.push()
    async with scene.alive():
        await scene.script.until_began()
        scene.runtime.close()
        await scene.store.until_settled()
        gate.set()
    assert len(scene.script.ended) == 1
    assert [len(batch) for batch in scene.store.settlements] == [1]
    assert (await scene.store.record(id)).state is State.READY


async def test_a_release_after_a_rescue_takes_back_only_its_own_attempt() -> None:
    scene = Scene(Gated())
    [id] = await scene.push()
    peer = await scene.store.peer()
    await peer.claim(QUEUE, 1, worker="lost", lease=1.0)
    scene.fake.advance(2.0)
    async with scene.alive():
        await scene.script.until_began()
    record = await scene.store.record(id)
    assert (record.attempt, record.crashes) == (1, 1)


async def test_the_culprit_is_the_task_now_on_the_loop() -> None:
    gate, seen = Gated(), []

    async def work(claim: Claim) -> Outcome:
        with ThreadPoolExecutor() as thread:
            seen.append(thread.submit(hand.executions.culprit).result())
            await gate(claim)
            seen.append(thread.submit(hand.executions.culprit).result())
        return DONE

    scene = Scene(work)
    hand = Hand(scene)
    await scene.push()
    peer = await scene.store.peer()
    [claim] = (await peer.claim(QUEUE, 1, worker="me", lease=30.0)).claims
    hand.executions.start(claim, hand.slots)
    assert hand.executions.culprit() is None, "it waits, so somebody else is on the loop"
    gate.release()
    await scene.script.until_ended()
    assert seen == ["a.task", "a.task"]
    assert hand.executions.culprit() is None


async def test_what_is_only_kept_is_no_culprit_and_does_not_run() -> None:
    hand = Hand(Scene())
    hand.executions.keep([Claim("kept", QUEUE, encode(Call("a.task", [], {}, 0.0)), 0, "t", 1)])
    assert hand.executions.culprit() is None
    assert (hand.executions.running, hand.slots.busy) == (0, 0)


async def test_only_what_is_kept_can_be_let_go() -> None:
    hand = Hand(Scene(Gated()))
    running, kept = hand.start("running"), Claim("kept", QUEUE, b"", 0, "t", 1)
    hand.executions.keep([kept])
    for _ in range(2):
        hand.executions.let_go([running, kept, Claim("unknown", QUEUE, b"", 0, "t", 1)])
    assert hand.settler.pending == 1
    assert not hand.executions.holds(kept)
    assert hand.executions.holds(running)


async def test_a_batch_of_which_nothing_is_left_takes_no_slot() -> None:
    hand = Hand(Scene())
    kept = [Claim("kept", QUEUE, b"", 0, "t", 1)]
    hand.executions.keep(kept)
    hand.executions.lose(kept)
    assert hand.executions.begin_batch(Batch(5, 1.0), kept, hand.slots) is None
    assert hand.slots.busy == 0
