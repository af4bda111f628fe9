"""Messages with a line and a limit: turns among what limits allow, and back into the line."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.store.engines import Engine
from tests.store.helpers import (
    DEAD,
    QUEUE,
    ids,
    now,
    push,
    reclaim,
    record,
    settle,
    stats,
    take,
    take_one,
)
from vtasks_asgi.core.limits import Limit
from vtasks_asgi.core.line import line_of
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.outcome import Release, Retry
from vtasks_asgi.store.base import Claim, FullStore, State
from vtasks_asgi.store.control import Cancel

FLOOD, SMALL, OTHER = line_of("flood"), line_of("small"), line_of("other")
ONE, TWO, THREE = Limit("key", 1), Limit("key", 2), Limit("key", 3)
PACED = Limit("key", None, 5.0)


async def push_to(
    store: FullStore, line: int | None, limit: Limit | None, count: int = 1, *, priority: int = 0
) -> list[str]:
    """Push so many in one call; their ids in order."""
    messages = [
        Message(new_id(), QUEUE, b"body", priority, line=line, limit=limit) for _ in range(count)
    ]
    await store.push(messages)
    return [each.id for each in messages]


async def in_state(store: FullStore, some: Sequence[str]) -> list[State]:
    return [(await record(store, id)).state for id in some]


async def end(store: FullStore, claims: Sequence[Claim]) -> None:
    for claim in claims:
        assert (await settle(store, claim)).lost == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize("limit", [1, 3, 20])
async def test_each_key_has_its_limit_and_its_turns(store: FullStore, limit: int) -> None:
    groups = [
        await push_to(store, line_of(key), Limit(key, 2), 8) for key in ("flood", "small", "other")
    ]
    for start in range(0, 8, 2):
        claims: list[Claim] = []
        for _ in range(20):
            claims += await take(store, limit)
        taken = set(ids(claims))
        assert taken == {id for group in groups for id in group[start : start + 2]}
        await end(store, claims)
    assert (await stats(store)).delayed == 0


@pytest.mark.parametrize("line", [SMALL, None])
async def test_a_held_one_comes_back_to_its_line(store: FullStore, line: int | None) -> None:
    flood = await push_to(store, FLOOD, TWO, 5)
    running = await take(store)
    assert ids(running) == flood[:2]
    assert await in_state(store, flood[2:]) == [State.DELAYED] * 3
    others = await push_to(store, line, None, 4)
    await end(store, running)
    assert await in_state(store, flood[2:]) == [State.READY, State.READY, State.DELAYED]
    taken = [await take_one(store) for _ in range(4)]
    turns = [claim.id in others for claim in taken]
    assert turns in ([True, False] * 2, [False, True] * 2), "they alternate"
    assert [claim.id for claim in taken if claim.id in flood] == flood[2:4]
    assert ids(await take(store)) == others[2:]


async def test_one_with_a_date_comes_back_to_its_line(engine: Engine, store: FullStore) -> None:
    flood = await push_to(store, FLOOD, PACED, 4)
    assert ids(await take(store)) == flood[:1]
    small = await push_to(store, SMALL, None, 6)
    assert ids(await take(store, 2)) == small[:2]
    await engine.advance(6)
    assert set(ids(await take(store, 2))) == {flood[1], small[2]}
    assert ids(await take(store, 2)) == small[3:5]


async def test_what_is_put_aside_leaves_its_line(store: FullStore) -> None:
    """Of a line only one is looked at; what is like it goes with it, and is not met again."""
    flood = await push_to(store, FLOOD, ONE, 6)
    assert ids(await take(store, 1)) == flood[:1]
    assert await take(store, 1) == []
    counted = await stats(store)
    assert (counted.ready, counted.delayed, counted.running) == (0, 5, 1)
    [free] = await push_to(store, FLOOD, None)
    assert ids(await take(store)) == [free]
    assert await take(store) == []


async def test_each_is_measured_by_its_own_limit_whatever_its_line(store: FullStore) -> None:
    keyless = await push_to(store, None, ONE, 3)
    small = await push_to(store, SMALL, TWO, 1)
    first = await take(store)
    assert ids(first) == small, "the other ones may not start beside one of their key"
    await end(store, first)
    rest: list[str] = ids(first)
    while claims := await take(store):
        rest += ids(claims)
        await end(store, claims)
    assert sorted(rest) == sorted(keyless + small)


async def test_a_shared_limit_lets_the_oldest_go_first(store: FullStore) -> None:
    """Turns are taken among what is ready; what a limit holds back comes by priority and age."""
    flood = await push_to(store, FLOOD, ONE, 3)
    [small] = await push_to(store, SMALL, ONE)
    [urgent] = await push_to(store, OTHER, ONE, priority=5)
    order = []
    while claims := await take(store):
        order += ids(claims)
        await end(store, claims)
    assert order == [urgent, *flood, small]


@pytest.mark.parametrize("outcome", [Retry(b"h", 0.0), Release()])
async def test_what_is_put_back_waits_in_its_line_for_its_slot(
    store: FullStore, outcome: Retry | Release
) -> None:
    flood = await push_to(store, FLOOD, ONE, 3)
    [running] = await take(store)
    await settle(store, running, outcome)
    small = await push_to(store, SMALL, None, 2)
    assert len(set(ids(await take(store, 2))) & set(small)) == 1
    assert await in_state(store, flood[:1]) == [State.RUNNING]


async def test_a_retry_of_later_is_held_and_comes_back_to_its_line(
    engine: Engine, store: FullStore
) -> None:
    flood = await push_to(store, FLOOD, ONE, 2)
    [running] = await take(store)
    await settle(store, running, Retry(b"h", 5.0))
    second = await take_one(store)
    await engine.advance(6)
    assert await take(store) == []
    assert await in_state(store, flood[:1]) == [State.DELAYED]
    small = await push_to(store, SMALL, None, 4)
    await settle(store, second)
    claims = await take(store, 2)
    assert {claim.id for claim in claims} == {flood[0], small[0]}
    assert next(claim.attempt for claim in claims if claim.id == flood[0]) == 2


async def test_a_requeued_one_has_its_line_and_its_limit(store: FullStore) -> None:
    flood = await push_to(store, FLOOD, TWO, 4)
    while claims := await take(store):
        for claim in claims:
            await settle(store, claim, DEAD)
    assert await store.requeue(flood) == 4
    small = await push_to(store, SMALL, None, 3)
    claims = await take(store)
    assert [claim.limit for claim in claims if claim.id in flood] == [TWO, TWO]
    assert len(set(ids(claims[:2])) & set(small)) == 1
    assert set(ids(claims)) == {*small, *flood[:2]}


@pytest.mark.parametrize("limit", [ONE, PACED])
async def test_held_ones_are_cancelled_and_requeued(
    engine: Engine, store: FullStore, limit: Limit
) -> None:
    flood = await push_to(store, FLOOD, limit, 3)
    running = await take(store)
    assert ids(running) == flood[:1]
    assert await take(store) == []
    outcomes = (await store.cancel(flood[1:])).outcomes
    assert outcomes == dict.fromkeys(flood[1:], Cancel.CANCELLED)
    assert await store.requeue(flood[1:]) == 2
    assert await take(store) == []
    await end(store, running)
    await engine.advance(6)
    assert ids(await take(store)) == flood[1:2]


async def test_held_ones_are_purged(store: FullStore) -> None:
    flood = await push_to(store, FLOOD, ONE, 4)
    running = await take(store)
    assert await take(store) == []
    assert await store.purge(QUEUE, State.DELAYED) == 3
    await end(store, running)
    assert await take(store) == []
    assert await store.lookup(flood) == {}
    again = await push_to(store, FLOOD, ONE, 2)
    assert ids(await take(store)) == again[:1]


async def test_ready_ones_are_purged_from_line_and_limit(store: FullStore) -> None:
    await push_to(store, FLOOD, ONE, 4)
    assert await store.purge(QUEUE, State.READY) == 4
    assert await take(store) == []
    again = await push_to(store, FLOOD, ONE, 2)
    assert ids(await take(store)) == again[:1]


async def test_reclaim_lets_go_into_the_line(store: FullStore) -> None:
    """The one that was let go was cancelled, and nobody of its key runs."""
    flood = await push_to(store, FLOOD, ONE, 4)
    [running] = await take(store)
    assert await take(store) == []
    await settle(store, running)
    assert await in_state(store, flood[1:]) == [State.READY, State.DELAYED, State.DELAYED]
    await store.cancel(flood[1:2])
    assert await take(store) == []
    assert await reclaim(store) == []
    small = await push_to(store, SMALL, None, 3)
    assert set(ids(await take(store, 2))) == {flood[2], small[0]}


async def test_a_rescued_one_keeps_line_and_slot(engine: Engine, store: FullStore) -> None:
    flood = await push_to(store, FLOOD, ONE, 2)
    await take(store)
    await engine.advance(31)
    [rescued] = await reclaim(store)
    assert (rescued.id, rescued.limit) == (flood[0], ONE)
    assert await take(store) == []
    await settle(store, rescued, Release())
    small = await push_to(store, SMALL, None, 2)
    assert set(ids(await take(store, 2))) == {flood[0], small[0]}


async def test_a_held_one_that_is_debounced_comes_back_to_its_line(
    engine: Engine, store: FullStore
) -> None:
    running = await push_to(store, FLOOD, ONE)
    assert ids(await take(store)) == running
    first = Message(new_id(), QUEUE, b"1", unique="u", debounce=0.0, line=FLOOD, limit=ONE)
    then = Message(new_id(), QUEUE, b"2", unique="u", debounce=2.0, line=SMALL)
    await store.push([first])
    assert await take(store) == []
    [receipt] = await store.push([then])
    assert receipt.merged
    assert (await record(store, first.id)).run_at is not None, "it waits anew, with a date"
    await engine.advance(3)
    assert await take(store) == [], "and is held again, for the other one still runs"
    small = await push_to(store, SMALL, None, 2)
    assert ids(await take(store, 1)) == small[:1]
    assert (await store.cancel(running)).outcomes == {running[0]: Cancel.ASKED}
    assert (await record(store, first.id)).body == b"2"


async def test_a_call_within_the_leading_edge_leaves_the_first_in_its_line(
    store: FullStore,
) -> None:
    first = Message(new_id(), QUEUE, b"1", unique="u", debounce=5.0, keep_unique=5.0, line=FLOOD)
    then = Message(new_id(), QUEUE, b"2", unique="u", debounce=5.0, keep_unique=5.0, line=SMALL)
    keyless = await push(store, 2)
    await store.push([first])
    [receipt] = await store.push([then])
    assert receipt.merged
    claims = await take(store, 2)
    assert set(ids(claims)) == {first.id, keyless[0]}
    assert {claim.body for claim in claims if claim.id == first.id} == {b"2"}


async def test_a_tick_has_its_line_and_its_limit(store: FullStore) -> None:
    flood = await push_to(store, FLOOD, None, 4)
    tick = Message(new_id(), QUEUE, b"tick", line=SMALL, limit=ONE)
    await store.push_tick("schedule", 1.0, tick)
    claims = await take(store, 2)
    assert set(ids(claims)) == {tick.id, flood[0]}
    assert [claim.limit for claim in claims if claim.id == tick.id] == [ONE]


async def test_many_in_one_push_have_their_own(store: FullStore) -> None:
    """Some with both, some with one, some with none, and a delayed one."""
    due = await now(store) + 60
    kinds = [(FLOOD, ONE), (None, ONE), (SMALL, None), (None, None), (OTHER, THREE)]
    messages = [Message(new_id(), QUEUE, b"", line=line, limit=limit) for line, limit in kinds]
    messages.append(Message(new_id(), QUEUE, b"", 0, due, line=SMALL, limit=TWO))
    await store.push(messages)
    order = []
    while claims := await take(store):
        order += claims
        await end(store, claims)
    given = {each.id: each.limit for each in messages[:-1]}
    assert {claim.id: claim.limit for claim in order} == given


async def test_many_claimers_keep_limits_and_lose_nothing(engine: Engine, store: FullStore) -> None:
    stores = [store, *[await engine.opened() for _ in range(2)]]
    of: dict[str, str] = {}
    for key in ("a", "b", "c", "d"):
        limit = Limit(key, 2)
        of |= dict.fromkeys(await push_to(store, line_of(key), limit, 15), key)
        of |= dict.fromkeys(await push_to(store, None, limit, 5), key)
    running: Counter[str] = Counter()
    done: list[str] = []

    async def work(store: FullStore) -> None:
        while len(done) < len(of):
            claims = await take(store, 5)
            running.update(of[claim.id] for claim in claims)
            assert max(running.values(), default=0) <= 2
            for claim in claims:
                running[of[claim.id]] -= 1
                await end(store, [claim])
                done.append(claim.id)
            if not claims:
                await reclaim(store)

    async with asyncio.timeout(60):
        await asyncio.gather(*map(work, stores))
    assert sorted(done) == sorted(of)
