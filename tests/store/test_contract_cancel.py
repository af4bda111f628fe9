"""Cancelling: what waits ends at once, what runs is marked and never waits again."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.store.compare import names
from tests.store.engines import Engine
from tests.store.helpers import (
    DEAD,
    DONE,
    LEASE,
    QUEUE,
    browse_all,
    bury,
    ids,
    now,
    push,
    pushed_and_taken,
    reclaim,
    record,
    settle,
    stats,
    take,
    take_one,
)
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.outcome import CANCELLED, Done, Outcome, Release, Retry
from vtasks_asgi.store.base import Claim, FullStore, Settlement, State
from vtasks_asgi.store.control import Cancel

#: What would let a message wait again, the attempt and the history that are left of it.
AGAIN: list[tuple[Outcome, int, bytes | None]] = [
    (Retry(b"tried", 0.0), 1, b"tried"),
    (Retry(b"tried", 60.0), 1, b"tried"),
    (Release(), 0, None),
    (Release(60.0), 0, None),
]


async def marked(engine: Engine, store: FullStore, claims: Sequence[Claim]) -> list[Claim]:
    return await engine.in_thread(lambda: store.cancelled(claims))


async def cancel_one(store: FullStore, id: str) -> Cancel:
    return (await store.cancel([id])).outcomes[id]


@pytest.fixture
def running(store: FullStore, runner: asyncio.Runner) -> Claim:
    return runner.run(pushed_and_taken(store))


async def test_what_waits_becomes_a_dead_letter_at_once(store: FullStore) -> None:
    [ready] = await push(store, body=b"content", priority=7)
    [delayed] = await push(store, run_at=await now(store) + 60)
    cancellation = await store.cancel([ready, delayed])
    assert cancellation.outcomes == dict.fromkeys([ready, delayed], Cancel.CANCELLED)
    assert (cancellation.buried, cancellation.evicted) == ({QUEUE: 2}, {})
    assert await take(store) == []
    found = await record(store, ready)
    assert (found.state, found.reason) == (State.DEAD, CANCELLED)
    assert (found.body, found.priority) == (b"content", 7)
    assert (found.attempt, found.crashes, found.history) == (0, 0, None)
    assert found.finished_at == pytest.approx(await now(store), abs=0.001)
    assert ids(await browse_all(store, State.DEAD)) == [ready, delayed]
    counted = await stats(store)
    assert (counted.ready, counted.delayed, counted.dead) == (0, 0, 2)


async def test_a_note_is_kept_and_comes_back_with_a_requeue(store: FullStore) -> None:
    claim = await pushed_and_taken(store)
    claim.note = b"page 7"
    await settle(store, claim, Retry(b"tried", 60.0))
    await store.cancel([claim.id])
    assert (await record(store, claim.id)).note == b"page 7"
    await store.requeue([claim.id])
    assert (await take_one(store)).note == b"page 7"


async def test_what_has_been_tried_keeps_its_history(engine: Engine, store: FullStore) -> None:
    claim = await pushed_and_taken(store)
    await engine.advance(LEASE + 1)
    [claim] = await reclaim(store)
    await settle(store, claim, Retry(b"tried", 60.0))
    assert await cancel_one(store, claim.id) is Cancel.CANCELLED
    found = await record(store, claim.id)
    assert (found.attempt, found.crashes, found.history) == (1, 1, b"tried")


async def test_what_it_has_noted_stays_with_it(store: FullStore) -> None:
    claim, other = await pushed_and_taken(store), await pushed_and_taken(store, "other")
    claim.note = other.note = b"note"
    await settle(store, claim, Retry(b"tried", 60.0))
    await store.cancel([claim.id, other.id])
    await settle(store, other, Release())
    for id in (claim.id, other.id):
        found = await record(store, id)
        assert (found.state, found.note) == (State.DEAD, b"note")


async def test_neighbours_stay_as_they_are(store: FullStore) -> None:
    first, second, third = await push(store, 3)
    [other] = await push(store, queue="other")
    await store.cancel([second])
    assert ids(await take(store)) == [first, third]
    assert ids(await take(store, queue="other")) == [other]


async def test_one_call_for_queues_of_every_name(store: FullStore) -> None:
    pushed = [*await push(store, 2), *await push(store, queue="other")]
    cancellation = await store.cancel(pushed)
    assert set(cancellation.outcomes.values()) == {Cancel.CANCELLED}
    assert cancellation.buried == {QUEUE: 2, "other": 1}


async def test_the_unique_key_is_released(store: FullStore) -> None:
    first, second = (Message(new_id(), QUEUE, b"body", unique="key") for _ in range(2))
    await store.push([first])
    await store.cancel([first.id])
    [receipt] = await store.push([second])
    assert (receipt.stored, receipt.holder) == (True, None)
    assert await store.requeue([first.id]) == 0
    await settle(store, await take_one(store))
    assert await store.requeue([first.id]) == 1


async def test_a_kept_key_is_kept_for_its_time(engine: Engine, store: FullStore) -> None:
    first = Message(new_id(), QUEUE, b"body", unique="key", keep_unique=60.0)
    await store.push([first])
    await store.cancel([first.id])
    [receipt] = await store.push([Message(new_id(), QUEUE, b"body", unique="key")])
    assert receipt.holder == first.id
    await engine.advance(61.0)
    [receipt] = await store.push([Message(new_id(), QUEUE, b"body", unique="key")])
    assert receipt.stored


async def test_a_cancelled_message_can_be_requeued(store: FullStore) -> None:
    [id] = await push(store)
    await store.cancel([id])
    assert await store.requeue([id]) == 1
    claim = await take_one(store)
    assert (claim.id, claim.attempt, claim.cancelled) == (id, 1, False)
    assert (await settle(store, claim, Retry(b"h", 0.0))).cancelled == []
    assert ids(await take(store)) == [id]


async def test_dead_letters_are_evicted_over_the_cap(engine: Engine) -> None:
    store = await engine.opened(dead_letter_cap=3)
    old = await bury(store, 2)
    pushed = await push(store, 3)
    cancellation = await store.cancel(pushed)
    assert (cancellation.buried, cancellation.evicted) == ({QUEUE: 3}, {QUEUE: 2})
    assert set(await store.lookup([*old, *pushed])) == set(pushed)


async def test_what_runs_is_marked_and_goes_on(
    engine: Engine, store: FullStore, running: Claim
) -> None:
    assert await marked(engine, store, [running]) == []
    cancellation = await store.cancel([running.id])
    assert cancellation.outcomes == {running.id: Cancel.ASKED}
    assert cancellation.buried == {}
    assert (await record(store, running.id)).state is State.RUNNING
    assert await marked(engine, store, [running]) == [running]
    assert await cancel_one(store, running.id) is Cancel.ASKED
    assert await engine.in_thread(lambda: store.extend([running], lease=LEASE)) == []


async def test_only_marked_claims_that_still_hold_are_told(
    engine: Engine, store: FullStore
) -> None:
    await push(store, 4)
    first, second, third, fourth = await take(store)
    elsewhere = await pushed_and_taken(store, "other")
    await store.cancel([second.id, third.id, fourth.id, elsewhere.id])
    await settle(store, third)
    await engine.advance(LEASE + 1)
    await engine.in_thread(lambda: store.extend([first, second, elsewhere], lease=LEASE))
    [current] = await reclaim(store)
    told = await marked(engine, store, [first, second, third, fourth, elsewhere, current])
    assert sorted(names(told)) == sorted(names([second, elsewhere, current]))
    assert await marked(engine, store, []) == []
    forged = [replace(second, token=""), replace(second, token="wrong")]
    assert await marked(engine, store, forged) == []


@pytest.mark.parametrize(("outcome", "attempt", "history"), AGAIN)
async def test_a_marked_message_never_waits_again(
    engine: Engine,
    store: FullStore,
    running: Claim,
    outcome: Outcome,
    attempt: int,
    history: bytes | None,
) -> None:
    await store.cancel([running.id])
    await push(store)
    neighbour = await take_one(store)
    settled = await store.settle([Settlement(each, outcome) for each in (running, neighbour)])
    assert (settled.lost, settled.cancelled) == ([], [running])
    found = await record(store, running.id)
    assert (found.state, found.reason) == (State.DEAD, CANCELLED)
    assert (found.attempt, found.crashes, found.history) == (attempt, 0, history)
    assert (found.worker, found.started_at) == (None, None)
    assert (await record(store, neighbour.id)).state in (State.READY, State.DELAYED)
    await engine.advance(61.0)
    assert ids(await take(store)) == [neighbour.id]
    assert ids((await settle(store, running)).lost) == [running.id]


async def test_its_unique_key_is_released_where_it_would_wait_again(store: FullStore) -> None:
    for outcome, *_ in AGAIN:
        first, second = (Message(new_id(), QUEUE, b"body", unique="key") for _ in range(2))
        await store.push([first])
        claim = await take_one(store)
        await store.cancel([first.id])
        [receipt] = await store.push([second])
        assert receipt.holder == first.id
        await settle(store, claim, outcome)
        [receipt] = await store.push([second])
        assert receipt.stored
        await settle(store, await take_one(store))


async def test_dead_letters_it_becomes_are_evicted_over_the_cap(engine: Engine) -> None:
    store = await engine.opened(dead_letter_cap=1)
    await bury(store)
    claim = await pushed_and_taken(store)
    await store.cancel([claim.id])
    settled = await settle(store, claim, Release())
    assert settled.evicted == {QUEUE: 1}
    assert ids(await browse_all(store, State.DEAD)) == [claim.id]


@pytest.mark.parametrize("outcome", [DONE, Done(b"h", b"value", ttl=60.0), DEAD])
async def test_a_marked_message_may_end_by_itself(
    engine: Engine, store: FullStore, running: Claim, outcome: Outcome
) -> None:
    await store.cancel([running.id])
    settled = await settle(store, running, outcome)
    assert (settled.lost, settled.cancelled) == ([], [])
    found = (await store.lookup([running.id])).get(running.id)
    assert found is None or found.reason in (None, "broken")
    assert await marked(engine, store, [running]) == []
    again = Message(running.id, QUEUE, b"again")
    if found is None:  # its mark has ended with it
        await store.push([again])
        claim = await take_one(store)
        assert await marked(engine, store, [claim]) == []
        assert (await settle(store, claim, Release())).cancelled == []


async def test_a_marked_message_whose_worker_dies_is_handed_out_as_cancelled(
    engine: Engine, store: FullStore
) -> None:
    await push(store, 2)
    claim, other = await take(store)
    await engine.advance(LEASE + 1)
    assert await cancel_one(store, claim.id) is Cancel.ASKED
    taken = {each.id: each for each in await reclaim(store)}
    assert (taken[claim.id].cancelled, taken[other.id].cancelled) == (True, False)
    await engine.advance(LEASE + 1)
    taken = {each.id: each for each in await reclaim(store)}
    assert (taken[claim.id].cancelled, taken[other.id].cancelled) == (True, False)
    settled = await store.settle([Settlement(each, Retry(b"h", 0.0)) for each in taken.values()])
    assert ids(settled.cancelled) == [claim.id]
    found = await record(store, claim.id)
    assert (found.state, found.attempt, found.crashes) == (State.DEAD, 1, 2)


async def test_who_lost_a_marked_message_cannot_settle_it(
    engine: Engine, store: FullStore, running: Claim
) -> None:
    await store.cancel([running.id])
    await engine.advance(LEASE + 1)
    [current] = await reclaim(store)
    settled = await settle(store, running, Release())
    assert (ids(settled.lost), settled.cancelled) == ([running.id], [])
    assert await marked(engine, store, [current]) == [current]


async def test_the_finished_and_the_unknown_are_left_alone(
    engine: Engine, store: FullStore
) -> None:
    [dead] = await bury(store)
    done, over = await pushed_and_taken(store), await pushed_and_taken(store, "other")
    await settle(store, done, Done(b"h", b"value", ttl=60.0))
    await settle(store, over, Done(b"h", b"value", ttl=5.0))
    await engine.advance(6.0)
    before = await store.lookup([dead, done.id])
    asked = [dead, done.id, over.id, "unknown", "ünknown", "", "x" * 65, "a\0b"]
    cancellation = await store.cancel([*asked, dead])
    assert cancellation.outcomes == {
        **dict.fromkeys(asked, Cancel.UNKNOWN),
        dead: Cancel.FINISHED,
        done.id: Cancel.FINISHED,
    }
    assert (cancellation.buried, cancellation.evicted) == ({}, {})
    assert await store.lookup([dead, done.id]) == before
    assert (await store.cancel([])).outcomes == {}


async def test_cancelling_again_meets_what_is_finished(store: FullStore) -> None:
    [id] = await push(store)
    assert (await store.cancel([id, id])).outcomes == {id: Cancel.CANCELLED}
    assert await cancel_one(store, id) is Cancel.FINISHED
    assert (await stats(store)).dead == 1


async def test_many_at_once(store: FullStore) -> None:
    pushed = await push(store, 1200)
    held = await take(store, 100)
    cancellation = await store.cancel(pushed)
    told = list(cancellation.outcomes.values())
    assert (told.count(Cancel.CANCELLED), told.count(Cancel.ASKED)) == (1100, 100)
    settled = await store.settle([Settlement(claim, Release()) for claim in held])
    assert len(settled.cancelled) == 100
    assert await take(store) == []


async def test_cancelling_from_another_thread_is_the_same(engine: Engine, store: FullStore) -> None:
    claim = await pushed_and_taken(store)
    [waiting] = await push(store)
    cancellation = await engine.in_thread(lambda: store.cancel_sync([claim.id, waiting, "unknown"]))
    assert cancellation.outcomes == {
        claim.id: Cancel.ASKED,
        waiting: Cancel.CANCELLED,
        "unknown": Cancel.UNKNOWN,
    }
    assert cancellation.buried == {QUEUE: 1}
    assert await marked(engine, store, [claim]) == [claim]
    assert (await record(store, waiting)).reason == CANCELLED


async def test_another_process_learns_of_it(engine: Engine, store: FullStore) -> None:
    other = await engine.opened()
    claim = await pushed_and_taken(store)
    assert await cancel_one(other, claim.id) is Cancel.ASKED
    assert await marked(engine, store, [claim]) == [claim]
    await store.aclose()
    await store.open()
    assert await marked(engine, store, [claim]) == [claim]
