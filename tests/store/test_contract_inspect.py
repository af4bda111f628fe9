"""What onlookers see: numbers, records by id, and pages."""

from types import NoneType
from typing import Any

import pytest

from tests.store.engines import Engine
from tests.store.helpers import (
    DEAD,
    LEASE,
    ODD_NAMES,
    QUEUE,
    browse_all,
    bury,
    ids,
    message,
    now,
    push,
    pushed_and_taken,
    reclaim,
    settle,
    stats,
    take,
)
from vtasks_asgi.core.outcome import Done, Release, Retry
from vtasks_asgi.store.base import FullStore, QueueStats, State

#: Ids from an address bar or a damaged link, none of which any store has given out.
STRANGE_IDS = [
    "",
    "x",
    "x" * 10_000,
    "' OR '1'='1",
    "%",
    "*",
    "a\x00b",
    "é",
    "\ud800",
    "{1}",
    "1\n2",
]
STRANGE_CURSORS = ["x", "-", "1; DROP TABLE", "9" * 40, "\x00", "é", "\ud800", "None"]


async def in_every_state(store: FullStore, queue: str, count: int) -> dict[State, list[str]]:
    """``count`` messages of each state, their ids in order."""
    dead = await bury(store, count, queue)
    done = await push(store, count, queue)
    for claim in await take(store, count, queue):
        await settle(store, claim, Done(b"h", b"v", ttl=3600.0))
    running = await push(store, count, queue)
    await take(store, count, queue)
    delayed = await push(store, count, queue, run_at=await now(store) + 3600)
    ready = await push(store, count, queue)
    return {
        State.READY: ready,
        State.DELAYED: delayed,
        State.RUNNING: running,
        State.DONE: done,
        State.DEAD: dead,
    }


async def test_numbers_of_each_queue_asked_for(store: FullStore) -> None:
    await in_every_state(store, "full", 2)
    await push(store, 3, "waiting")
    counted = await store.stats(["waiting", "full", "empty"])
    assert list(counted) == ["waiting", "full", "empty"]
    full, waiting = counted["full"], counted["waiting"]
    assert (full.ready, full.delayed, full.running, full.dead) == (2, 2, 2, 2)
    assert (waiting.ready, waiting.delayed, waiting.running, waiting.dead) == (3, 0, 0, 0)
    assert counted["empty"] == QueueStats(0, 0, 0, 0, None)


async def test_the_oldest_ready_is_the_one_that_waits_longest(
    engine: Engine, store: FullStore
) -> None:
    assert (await stats(store)).oldest_ready is None
    await push(store)
    await engine.advance(10.0)
    await push(store, 1, priority=5)
    await engine.advance(5.0)
    assert (await stats(store)).oldest_ready == pytest.approx(15, abs=engine.tolerance)
    await take(store, 1)
    assert (await stats(store)).oldest_ready == pytest.approx(15, abs=engine.tolerance)
    await take(store, 1)
    assert (await stats(store)).oldest_ready is None


async def test_what_is_due_counts_as_ready_though_nobody_claims(
    engine: Engine, store: FullStore
) -> None:
    start = await now(store)
    await push(store, 2, run_at=start + 20)
    await push(store, 1, run_at=start + 500)
    counted = await stats(store)
    assert (counted.ready, counted.delayed, counted.oldest_ready) == (0, 3, None)
    await engine.advance(50.0)
    counted = await stats(store)
    assert (counted.ready, counted.delayed) == (2, 1)
    assert counted.oldest_ready == pytest.approx(30, abs=engine.tolerance)


async def test_waiting_begins_when_a_delayed_message_is_due(
    engine: Engine, store: FullStore
) -> None:
    await push(store, 2, run_at=await now(store) + 20)
    await engine.advance(50.0)
    await take(store, 1)
    assert (await stats(store)).oldest_ready == pytest.approx(30, abs=engine.tolerance)


@pytest.mark.parametrize(
    "outcome",
    [Release(), Release(10.0), Retry(b"h", 0.0), Retry(b"h", 10.0)],
    ids=["release", "late release", "retry", "late retry"],
)
async def test_waiting_begins_anew_after_a_try(
    engine: Engine, store: FullStore, outcome: Release | Retry
) -> None:
    claim = await pushed_and_taken(store)
    await engine.advance(1000.0)
    await settle(store, claim, outcome)
    await engine.advance(outcome.delay + 5.0)
    assert (await stats(store)).oldest_ready == pytest.approx(5, abs=engine.tolerance)


async def test_waiting_begins_anew_after_requeue(engine: Engine, store: FullStore) -> None:
    buried = await bury(store)
    await engine.advance(1000.0)
    await store.requeue(buried)
    await engine.advance(5.0)
    assert (await stats(store)).oldest_ready == pytest.approx(5, abs=engine.tolerance)


async def test_records_of_those_that_exist(engine: Engine, store: FullStore) -> None:
    states = await in_every_state(store, QUEUE, 2)
    every = [id for ids in states.values() for id in ids]
    found = await store.lookup([*every, message().id, every[0]])
    assert set(found) == set(every)
    assert all(found[id].id == id for id in every)
    for state, of_state in states.items():
        assert {found[id].state for id in of_state} == {state}
    assert await engine.in_thread(lambda: store.lookup_sync(every)) == found


async def test_strange_ids_exist_nowhere(engine: Engine, store: FullStore) -> None:
    pushed = await push(store)
    for strange in STRANGE_IDS:
        assert await store.lookup([strange]) == {}
        assert await store.requeue([strange]) == 0
    assert set(await store.lookup([*STRANGE_IDS, *pushed])) == set(pushed)
    found = await engine.in_thread(lambda: store.lookup_sync([*STRANGE_IDS, *pushed]))
    assert set(found) == set(pushed)


async def test_a_record_is_a_copy(store: FullStore) -> None:
    [pushed] = await push(store)
    (await store.lookup([pushed]))[pushed].queue = "changed"
    [page], _ = await store.browse(QUEUE, State.READY, limit=1)
    page.priority = 99
    found = (await store.lookup([pushed]))[pushed]
    assert (found.queue, found.priority) == (QUEUE, 0)


async def test_pages_show_everything_of_one_state_once(store: FullStore) -> None:
    states = await in_every_state(store, QUEUE, 6)
    await in_every_state(store, "other", 2)
    for state in State:
        for page in (1, 2, 3, 6, 7, 100):
            found = await browse_all(store, state, page=page)
            assert sorted(ids(found)) == sorted(states[state])
            assert {(each.queue, each.state) for each in found} == {(QUEUE, state)}
        assert {each.id: each for each in found} == await store.lookup(states[state])


async def test_pages_are_no_longer_than_asked_and_end_with_no_cursor(store: FullStore) -> None:
    await push(store, 5)
    sizes, cursor = [], None
    for _ in range(3):
        page, cursor = await store.browse(QUEUE, State.READY, limit=2, cursor=cursor)
        sizes.append((len(page), type(cursor)))
    assert sizes == [(2, str), (2, str), (1, NoneType)]


@pytest.mark.parametrize("state", [State.READY, State.DEAD, State.DONE])
async def test_what_stays_appears_exactly_once_whatever_else_changes(
    engine: Engine, store: FullStore, state: State
) -> None:
    stays = (await in_every_state(store, QUEUE, 12))[state]
    seen, cursor = await store.browse(QUEUE, state, limit=4)
    gone = {seen[1].id, seen[3].id, stays[5], stays[11]}
    await remove(store, state, gone)
    await in_every_state(store, "other", 3)
    while cursor is not None:
        page, cursor = await store.browse(QUEUE, state, limit=3, cursor=cursor)
        seen += page
        assert len(seen) < 50, "pages without end"
        if len(seen) < 12:
            await push(store, 1, priority=50)
            await bury(store)
    found = ids(seen)
    assert all(found.count(id) == 1 for id in stays if id not in gone)
    assert all(found.count(id) <= 1 for id in found)


async def remove(store: FullStore, state: State, gone: set[str]) -> None:
    """Let these leave their state, by what ordinarily happens to it."""
    if state is State.READY:
        for claim in await take(store):
            await settle(store, claim, DEAD if claim.id in gone else Release())
    elif state is State.DEAD:
        assert await store.requeue(sorted(gone)) == len(gone)
    else:
        assert await store.purge(QUEUE, State.DONE, before=0.0) == 0


async def test_a_cursor_that_makes_no_sense(store: FullStore) -> None:
    for cursor in STRANGE_CURSORS:
        for state in State:
            with pytest.raises(ValueError, match="cursor"):
                await store.browse(QUEUE, state, limit=1, cursor=cursor)


async def test_looking_changes_nothing(engine: Engine, store: FullStore) -> None:
    start: Any = await now(store)
    await push(store, 2, run_at=start + 5)
    await pushed_and_taken(store)
    await engine.advance(LEASE + 1)
    for _ in range(2):
        await stats(store)
        assert len(await browse_all(store, State.DELAYED)) == 2
        assert len(await browse_all(store, State.RUNNING)) == 1
    assert len(await reclaim(store)) == 1
    assert len(await take(store)) == 2


async def test_known_queues_are_those_with_a_message_in_any_state(store: FullStore) -> None:
    assert await store.known_queues() == []
    await push(store, 3, "ready")
    await push(store, 3, "delayed", run_at=await now(store) + 60.0)
    await pushed_and_taken(store, "running")
    await bury(store, 3, "dead")
    for odd in ODD_NAMES:
        await push(store, 1, odd)
    found = await store.known_queues()
    assert found == sorted(["ready", "delayed", "running", "dead", *ODD_NAMES])


async def test_known_queues_come_and_may_go(store: FullStore) -> None:
    await push(store, 1, "a")
    await push(store, 1, "b")
    await store.purge("a", State.READY)
    assert set(await store.known_queues()) - {"a"} == {"b"}
