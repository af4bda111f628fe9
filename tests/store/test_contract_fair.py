"""Fair share: lines of one queue take turns, whatever stands in them, and priority comes first."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest

from tests.store.engines import Engine
from tests.store.helpers import (
    DEAD,
    QUEUE,
    browse_all,
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
from vtasks_asgi.core.line import LINES, line_of
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.outcome import Dead, Release, Retry
from vtasks_asgi.store.base import Claim, FullStore, State
from vtasks_asgi.store.control import Cancel

FLOOD, SMALL, OTHER = line_of("flood"), line_of("small"), line_of("other")
HISTORY = b"history"


def lined(line: int | None, *, priority: int = 0, run_at: float | None = None) -> Message:
    return Message(new_id(), QUEUE, b"body", priority, run_at, line=line)


async def push_to(
    store: FullStore, line: int | None, count: int = 1, *, priority: int = 0
) -> list[str]:
    """Push so many in one call; their ids in order."""
    messages = [lined(line, priority=priority) for _ in range(count)]
    await store.push(messages)
    return ids(messages)  # type: ignore[arg-type]


async def take_by(store: FullStore, limit: int) -> list[Claim]:
    """All there is, in claims of so many."""
    taken: list[Claim] = []
    while claims := await take(store, limit):
        taken += claims
    return taken


def lines_of(claims: Sequence[Claim], *groups: Sequence[str]) -> list[int]:
    """Which of the groups of ids each claim belongs to."""
    of = {id: number for number, group in enumerate(groups) for id in group}
    return [of[claim.id] for claim in claims]


@pytest.mark.parametrize("limit", [1, 2, 7])
async def test_a_flood_does_not_keep_another_key_waiting(store: FullStore, limit: int) -> None:
    flood = await push_to(store, FLOOD, 50)
    await take(store, 3)
    [single] = await push_to(store, SMALL)
    assert single in ids(await take(store, 2)), "one turn of the flood, and it is its own"
    assert ids(await take_by(store, limit)) == flood[4:], "a lone key has everything, in order"


@pytest.mark.parametrize("limit", [1, 3, 4, 100])
async def test_keys_take_turns_and_each_is_first_in_first_out(store: FullStore, limit: int) -> None:
    lines = [line_of(f"key {number}") for number in range(5)]
    pushed = [await push_to(store, line, 10 + 5 * n) for n, line in enumerate(lines)]
    claims = await take_by(store, limit)
    order = lines_of(claims, *pushed)
    for number, group in enumerate(pushed):
        assert [claim.id for claim in claims if claim.id in set(group)] == group
        assert order.count(number) == len(group)
    for start, end in pairwise(i for i, number in enumerate(order) if number == 4):
        between = Counter(order[start + 1 : end])
        assert set(between.values()) <= {1}, "between two turns of a key each other has one"
    assert Counter(order[:50]) == dict.fromkeys(range(5), 10)


async def test_those_without_a_key_are_one_more(store: FullStore) -> None:
    keyless = await push(store, 40)
    flood = await push_to(store, FLOOD, 40)
    order = lines_of(await take_by(store, 1), keyless, flood)
    assert all(order[i] != order[i + 1] for i in range(0, 80, 2)), "they alternate"
    more = await push(store, 40)
    [single] = await push_to(store, SMALL)
    claims = ids(await take(store, 2))
    assert single in claims
    assert [id for id in claims if id != single] == more[:1]


async def test_a_key_that_comes_later_is_served_before_keyless_ones(store: FullStore) -> None:
    """The first message with a key in a queue that had none before."""
    await push(store, 30)
    await take(store, 5)
    [single] = await push_to(store, SMALL)
    assert single in ids(await take(store, 2))


@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_priority_comes_before_turns(store: FullStore, limit: int) -> None:
    low = [await push_to(store, FLOOD, 5, priority=-1), await push_to(store, SMALL, 2, priority=-1)]
    keyless = await push(store, 3)
    high = [await push_to(store, FLOOD, 4, priority=9), await push_to(store, OTHER, 4, priority=9)]
    claims = await take_by(store, limit)
    assert [claim.priority for claim in claims] == [9] * 8 + [0] * 3 + [-1] * 7
    assert ids(claims[8:11]) == keyless
    for start, groups in ((0, high), (11, low)):
        turns = lines_of(claims[start : start + 4], *groups)
        assert Counter(turns) == {0: 2, 1: 2}


async def test_a_high_priority_does_not_disturb_the_turns_below(store: FullStore) -> None:
    keys = [line_of(f"key {number}") for number in range(4)]
    pushed = [await push_to(store, key, 6) for key in keys]
    order = []
    for _ in range(12):
        await push_to(store, keys[1], priority=5)
        urgent, claim = await take(store, 2)
        assert urgent.priority == 5
        order += lines_of([claim], *pushed)
    assert Counter(order) == dict.fromkeys(range(4), 3)


@pytest.mark.parametrize("outcome", [Retry(HISTORY, 0.0), Release(0.0), Retry(HISTORY, 5.0)])
async def test_what_comes_back_waits_in_its_own_line(
    engine: Engine, store: FullStore, outcome: Retry | Release
) -> None:
    """A flood that fails and is tried again keeps nobody waiting either."""
    flood = await push_to(store, FLOOD, 12)
    for claim in await take(store):
        await settle(store, claim, outcome)
    await engine.advance(6)
    small = await push_to(store, SMALL, 2)
    assert len(set(small) & set(ids(await take(store, 4)))) == 2
    claims = await take(store)
    assert [claim.id for claim in claims] == flood[2:], "the oldest first, as ever"
    assert {claim.attempt for claim in claims} == {1 if isinstance(outcome, Release) else 2}


async def test_delayed_ones_take_turns_once_they_are_due(engine: Engine, store: FullStore) -> None:
    due = await now(store) + 5
    flood = [lined(FLOOD, run_at=due) for _ in range(12)]
    single = lined(SMALL, run_at=due + 1)
    await store.push(flood)
    await store.push([single])
    assert await take(store) == []
    await engine.advance(7)
    assert single.id in ids(await take(store, 2))
    assert ids(await take(store)) == [each.id for each in flood[1:]]


async def test_a_due_keyless_one_does_not_pass_a_line(engine: Engine, store: FullStore) -> None:
    due = await now(store) + 5
    await store.push([lined(None, run_at=due) for _ in range(4)])
    await store.push([single := lined(SMALL, run_at=due, priority=1)])
    await engine.advance(6)
    assert ids(await take(store, 1)) == [single.id]
    assert len(await take(store)) == 4


async def test_a_rescued_one_is_still_of_its_key(engine: Engine, store: FullStore) -> None:
    await push_to(store, FLOOD, 8)
    await take(store)
    await engine.advance(31)
    for claim in await reclaim(store):
        await settle(store, claim, Release(0.0))
    [single] = await push_to(store, SMALL)
    assert single in ids(await take(store, 2))


async def test_a_requeued_dead_letter_is_still_of_its_key(store: FullStore) -> None:
    flood = await push_to(store, FLOOD, 8)
    for claim in await take(store):
        await settle(store, claim, DEAD)
    assert await store.requeue(flood) == 8
    [single] = await push_to(store, SMALL)
    assert single in ids(await take(store, 2))
    assert ids(await take(store)) == flood[1:]


async def test_one_cancelled_while_it_ran_is_still_of_its_key_when_requeued(
    store: FullStore,
) -> None:
    await push_to(store, FLOOD, 4)
    [running] = await take(store, 1)
    assert (await store.cancel([running.id])).outcomes == {running.id: Cancel.ASKED}
    await settle(store, running, Retry(HISTORY, 0.0))
    assert await store.requeue([running.id]) == 1
    [single] = await push_to(store, SMALL)
    assert single in ids(await take(store, 2))
    assert ids(await take(store))[-1] == running.id


async def test_onlookers_see_messages_in_lines_as_ready(store: FullStore) -> None:
    flood = await push_to(store, FLOOD, 5, priority=7)
    keyless = await push(store, 2)
    assert (await stats(store)).ready == 7
    seen = await browse_all(store, State.READY, page=2)
    assert sorted(ids(seen)) == sorted(flood + keyless)
    found = await record(store, flood[0])
    assert (found.state, found.priority) == (State.READY, 7)
    [claim] = await take(store, 1)
    assert claim.priority == 7
    assert (await record(store, claim.id)).state is State.RUNNING
    assert (await record(store, claim.id)).priority == 7


async def test_the_oldest_in_a_line_counts_as_waiting(engine: Engine, store: FullStore) -> None:
    await push_to(store, FLOOD, 2)
    await engine.advance(10)
    await push(store)
    waited = (await stats(store)).oldest_ready
    assert waited == pytest.approx(10, abs=max(engine.tolerance, 0.1))


async def test_a_line_can_be_cancelled_and_purged(store: FullStore) -> None:
    first, *rest = await push_to(store, FLOOD, 6)
    assert (await store.cancel([first])).outcomes == {first: Cancel.CANCELLED}
    assert await store.purge(QUEUE, State.READY) == 5
    assert (await stats(store)).ready == 0
    assert await take(store) == []
    again = await push_to(store, FLOOD, 2)
    assert ids(await take(store)) == again
    assert await store.lookup(rest) == {}


async def test_a_purge_of_the_old_leaves_the_rest_of_a_line(
    engine: Engine, store: FullStore
) -> None:
    await push_to(store, FLOOD, 3)
    await engine.advance(10)
    before = await now(store) - 5
    left = await push_to(store, FLOOD, 3)
    assert await store.purge(QUEUE, State.READY, before=before) == 3
    assert ids(await take(store)) == left


async def test_an_id_in_a_line_is_known(store: FullStore) -> None:
    message = lined(FLOOD)
    assert [receipt.stored for receipt in await store.push([message])] == [True]
    assert [receipt.stored for receipt in await store.push([message])] == [False]
    assert ids(await take(store)) == [message.id]
    assert await take(store) == []


async def test_a_paused_queue_hands_out_no_line(store: FullStore) -> None:
    flood = await push_to(store, FLOOD, 3)
    await store.pause(QUEUE)
    assert await take(store) == []
    await store.resume(QUEUE)
    assert ids(await take(store)) == flood


async def test_a_debounced_one_keeps_its_key(engine: Engine, store: FullStore) -> None:
    """The holder takes the body and keeps all else, from its line or on its way there."""
    first = Message(new_id(), QUEUE, b"1", unique="u", debounce=0.0, line=FLOOD)
    then = Message(new_id(), QUEUE, b"2", unique="u", debounce=2.0, line=SMALL)
    await store.push([first])
    [receipt] = await store.push([then])
    assert receipt.merged
    assert await take(store) == []
    await push_to(store, FLOOD, 3)
    await engine.advance(3)
    claim = await take_one(store)
    assert (claim.id, claim.body, claim.unique) == (first.id, b"2", "u")
    assert (await stats(store)).ready == 3


async def test_the_first_and_the_last_line_are_lines_like_others(store: FullStore) -> None:
    groups = [await push_to(store, line, 3) for line in (LINES - 1, 0, None)]
    order = lines_of(await take_by(store, 2), *groups)
    for start in (0, 3, 6):
        assert sorted(order[start : start + 3]) == [0, 1, 2]


async def test_a_thread_pushes_to_a_line_as_well(engine: Engine, store: FullStore) -> None:
    messages = [lined(FLOOD), lined(SMALL), lined(None)]
    await engine.in_thread(lambda: store.push_sync(messages))
    assert sorted(ids(await take(store))) == sorted(each.id for each in messages)


async def test_a_tick_goes_into_its_line(store: FullStore) -> None:
    flood = await push_to(store, FLOOD, 5)
    tick = lined(SMALL)
    await store.push_tick("schedule", 1.0, tick)
    assert tick.id in ids(await take(store, 2))
    assert ids(await take(store)) == flood[1:]


@pytest.mark.timeout(180)
async def test_many_claimers_lose_and_double_nothing(engine: Engine, store: FullStore) -> None:
    others = [await engine.opened() for _ in range(2)]
    stores = [store, *others]
    pushed = set(await push(store, 30))
    for number in range(6):
        pushed |= set(await push_to(store, line_of(f"key {number}"), 10 + 10 * number))

    async def work(store: FullStore) -> list[str]:
        taken: list[str] = []
        while (await stats(store)).ready:
            for claim in await take(store, 7):
                taken.append(claim.id)
                assert (await settle(store, claim, Dead(HISTORY, "done"))).lost == []
        return taken

    found = await asyncio.gather(*map(work, stores))
    assert sorted(id for taken in found for id in taken) == sorted(pushed)
