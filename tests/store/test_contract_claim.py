"""Claiming: what is due, by priority, then in the order of pushing; each attempt is counted."""

import random

import pytest

from tests.store.engines import Engine
from tests.store.helpers import (
    LEASE,
    QUEUE,
    ids,
    message,
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
from vtasks_asgi.core.message import MAX_PRIORITY, MIN_PRIORITY
from vtasks_asgi.core.outcome import Release, Retry
from vtasks_asgi.store.base import FullStore, State


async def next_due(store: FullStore) -> float | None:
    return (await store.claim(QUEUE, 0, worker="w", lease=LEASE)).next_due


async def test_nothing_to_claim(store: FullStore) -> None:
    claimed = await store.claim("never seen", 10, worker="w", lease=LEASE)
    assert (claimed.claims, claimed.next_due) == ([], None)


async def test_messages_of_one_priority_come_in_the_order_of_pushing(store: FullStore) -> None:
    pushed = [*await push(store, 20), *await push(store, 1), *await push(store, 20)]
    taken = [*ids(await take(store, 7)), *ids(await take(store, 30)), *ids(await take(store))]
    assert taken == pushed


async def test_the_order_is_that_of_pushing_not_of_the_ids(store: FullStore) -> None:
    messages = sorted((message() for _ in range(50)), key=lambda each: each.id, reverse=True)
    await store.push(messages)
    assert ids(await take(store)) == [each.id for each in messages]


async def test_every_priority_counts_from_the_highest_to_the_lowest(store: FullStore) -> None:
    priorities = [*range(MIN_PRIORITY, MAX_PRIORITY + 1)] * 2
    random.Random(7).shuffle(priorities)
    messages = [message(priority=priority) for priority in priorities]
    await store.push(messages)
    wanted = sorted(messages, key=lambda each: -each.priority)  # stable: the first pushed first
    taken = [*await take(store, 3), *await take(store, 150), *await take(store)]
    assert ids(taken) == [each.id for each in wanted]
    assert [claim.priority for claim in taken] == [each.priority for each in wanted]


async def test_a_late_message_of_higher_priority_overtakes(store: FullStore) -> None:
    low = await push(store, 2, priority=-1)
    [high] = await push(store, 1, priority=1)
    [middle] = await push(store)
    assert ids(await take(store)) == [high, middle, *low]


async def test_a_claim_hands_over_the_message_as_it_was_pushed(store: FullStore) -> None:
    [pushed] = await push(store, 1, "mail", body=b"\x00content", priority=-7)
    claim = await take_one(store, "mail")
    assert (claim.id, claim.queue, claim.body) == (pushed, "mail", b"\x00content")
    assert (claim.priority, claim.attempt, claim.crashes) == (-7, 1, 0)
    assert (claim.history, claim.lost_worker, claim.lost_at) == (None, None, None)
    assert claim.token


async def test_a_claimed_message_is_running_in_the_hands_of_its_worker(
    engine: Engine, store: FullStore
) -> None:
    claim = await pushed_and_taken(store, worker="worker-1")
    found = await record(store, claim.id)
    assert (found.state, found.worker, found.attempt) == (State.RUNNING, "worker-1", 1)
    assert found.started_at == pytest.approx(await now(store), abs=engine.tolerance)
    assert await take(store) == []


async def test_the_limit_is_kept(store: FullStore) -> None:
    pushed = await push(store, 5)
    assert ids(await take(store, 2)) == pushed[:2]
    assert ids(await take(store, 2)) == pushed[2:4]
    assert ids(await take(store, 2)) == pushed[4:]


async def test_every_claim_counts_an_attempt_and_has_a_token_of_its_own(
    store: FullStore,
) -> None:
    claim = await pushed_and_taken(store)
    tokens = {claim.token}
    for attempt in (2, 3, 4):
        await settle(store, claim, Retry(b"history %d" % attempt, 0.0))
        claim = await take_one(store)
        assert (claim.attempt, claim.history) == (attempt, b"history %d" % attempt)
        assert (await record(store, claim.id)).attempt == attempt
        tokens.add(claim.token)
    assert len(tokens) == 4


async def test_a_release_keeps_its_place_and_gives_the_attempt_back(store: FullStore) -> None:
    first, second = await push(store, 2)
    claim = await take_one(store)
    assert (claim.id, claim.attempt) == (first, 1)
    await settle(store, claim, Release())
    found = await record(store, first)
    assert (found.state, found.attempt, found.worker) == (State.READY, 0, None)
    assert found.started_at is None
    again = await take(store)
    assert ids(again) == [first, second]
    assert [each.attempt for each in again] == [1, 1]
    assert again[0].token != claim.token


async def test_a_retry_keeps_its_place_too(engine: Engine, store: FullStore) -> None:
    first, second = await push(store, 2)
    await settle(store, await take_one(store), Retry(b"h", 5.0))
    await engine.advance(6.0)
    [third] = await push(store)
    assert ids(await take(store)) == [first, second, third]


async def test_nothing_starts_before_its_time(engine: Engine, store: FullStore) -> None:
    start = await now(store) + 60
    [delayed] = await push(store, run_at=start)
    assert await take(store) == []
    await engine.advance(58.0)
    assert await take(store) == []
    await engine.advance(3.0)
    assert ids(await take(store)) == [delayed]


async def test_what_is_due_is_promoted_within_the_claim(engine: Engine, store: FullStore) -> None:
    start = await now(store)
    pushed = await push(store, 5, run_at=start + 5)
    await push(store, 1, run_at=start + 500)
    await engine.advance(10.0)
    claimed = await store.claim(QUEUE, 2, worker="w", lease=LEASE)
    assert ids(claimed.claims) == pushed[:2]
    counted = await stats(store)
    assert (counted.ready, counted.delayed, counted.running) == (3, 1, 2)
    assert ids(await take(store)) == pushed[2:]


async def test_promoted_messages_fall_into_the_order_of_priority_and_pushing(
    engine: Engine, store: FullStore
) -> None:
    start = await now(store)
    [late] = await push(store, 1, run_at=start + 20)
    [early] = await push(store, 1, run_at=start + 10)
    [plain] = await push(store)
    [high] = await push(store, 1, priority=5, run_at=start + 30)
    [low] = await push(store, 1, priority=-5, run_at=start + 1)
    await engine.advance(40.0)
    assert ids(await take(store)) == [high, late, early, plain, low]


async def test_next_due_is_the_earliest_of_what_stays_delayed(
    engine: Engine, store: FullStore
) -> None:
    start = await now(store)
    await push(store, 1, run_at=start + 90)
    await push(store, 1, run_at=start + 30)
    await push(store, 1, "other", run_at=start + 5)
    assert await next_due(store) == pytest.approx(30, abs=engine.tolerance)
    await engine.advance(10.0)
    assert await next_due(store) == pytest.approx(20, abs=engine.tolerance)
    await push(store)
    claimed = await store.claim(QUEUE, 10, worker="w", lease=LEASE)
    assert len(claimed.claims) == 1
    assert claimed.next_due == pytest.approx(20, abs=engine.tolerance)
    await engine.advance(25.0)
    assert len(await take(store)) == 1
    assert await next_due(store) == pytest.approx(55, abs=engine.tolerance)
    await engine.advance(60.0)
    assert len(await take(store)) == 1
    assert await next_due(store) is None


async def test_a_claim_tells_when_it_was_due(engine: Engine, store: FullStore) -> None:
    start = await now(store)
    claim = await pushed_and_taken(store)
    assert claim.run_at is None
    await settle(store, claim)
    await push(store, 1, run_at=start + 20)
    await engine.advance(50.0)
    claim = await take_one(store)
    assert claim.run_at == pytest.approx(await now(store) - 30, abs=engine.tolerance)
    await settle(store, claim, Retry(b"h", 10.0))
    await engine.advance(15.0)
    claim = await take_one(store)
    assert claim.run_at == pytest.approx(await now(store) - 5, abs=engine.tolerance)
    await settle(store, claim, Release())
    await engine.advance(3.0)
    claim = await take_one(store)
    assert claim.run_at == pytest.approx(await now(store) - 3, abs=engine.tolerance)
    await engine.advance(LEASE + 1)
    [claim] = await reclaim(store)
    assert claim.run_at == pytest.approx(await now(store) - LEASE - 4, abs=engine.tolerance)


async def test_retries_and_releases_with_a_delay_are_due_later(
    engine: Engine, store: FullStore
) -> None:
    await push(store, 2)
    first, second = await take(store)
    await settle(store, first, Retry(b"h", 40.0))
    assert await next_due(store) == pytest.approx(40, abs=engine.tolerance)
    await settle(store, second, Release(15.0))
    assert await next_due(store) == pytest.approx(15, abs=engine.tolerance)
    assert await take(store) == []
    await engine.advance(16.0)
    [again] = await take(store)
    assert (again.id, again.attempt) == (second.id, 1)
    await engine.advance(25.0)
    [again] = await take(store)
    assert (again.id, again.attempt) == (first.id, 2)


async def test_workers_of_the_same_name_never_share_a_message(
    engine: Engine, store: FullStore
) -> None:
    pushed = await push(store, 6)
    twin = await engine.opened()
    mine = await take(store, 2, worker="same")
    theirs = await take(twin, 2, worker="same")
    rest = [*await take(store, worker="same"), *await take(twin, worker="same")]
    assert ids([*mine, *theirs, *rest]) == pushed
