"""Settling: what becomes of a message, what is kept of it, and the cap on dead letters."""

import pytest

from tests.store.engines import Engine
from tests.store.helpers import (
    DEAD,
    QUEUE,
    browse_all,
    bury,
    ids,
    now,
    push,
    pushed_and_taken,
    record,
    settle,
    stats,
    take,
    take_one,
)
from vtasks_asgi.core.outcome import Dead, Done, Outcome, Release, Retry
from vtasks_asgi.store.base import FullStore, Settlement, State


@pytest.mark.parametrize("ttl", [0.0, -1.0])
async def test_done_without_a_time_to_live_leaves_nothing(store: FullStore, ttl: float) -> None:
    claim = await pushed_and_taken(store)
    settled = await settle(store, claim, Done(b"h", b"value", ttl=ttl))
    assert (settled.lost, settled.evicted) == ([], {})
    assert await store.lookup([claim.id]) == {}
    for state in State:
        assert await store.browse(QUEUE, state, limit=10) == ([], None)
    counted = await stats(store)
    assert (counted.ready, counted.delayed, counted.running, counted.dead) == (0, 0, 0, 0)


async def test_done_with_a_time_to_live_keeps_the_result_so_long(
    engine: Engine, store: FullStore
) -> None:
    [pushed] = await push(store, 1, "mail", body=b"content", priority=9)
    claim = await take_one(store, "mail")
    await engine.advance(5.0)
    await settle(store, claim, Done(b"history", b"value", ttl=60.0))
    found = await record(store, pushed)
    assert (found.id, found.queue, found.state) == (pushed, "mail", State.DONE)
    assert (found.body, found.priority) == (b"content", 9)
    assert (found.history, found.value) == (b"history", b"value")
    assert (found.worker, found.started_at, found.reason) == (None, None, None)
    assert found.finished_at == pytest.approx(await now(store), abs=engine.tolerance)
    assert ids((await store.browse("mail", State.DONE, limit=10))[0]) == [pushed]
    await engine.advance(57.0)
    assert pushed in await store.lookup([pushed])
    await engine.advance(4.0)
    assert await store.lookup([pushed]) == {}
    assert await engine.in_thread(lambda: store.lookup_sync([pushed])) == {}
    assert await store.browse("mail", State.DONE, limit=10) == ([], None)


async def test_a_result_may_have_no_value(store: FullStore) -> None:
    claim = await pushed_and_taken(store)
    await settle(store, claim, Done(b"h", None, ttl=60.0))
    found = await record(store, claim.id)
    assert (found.state, found.value) == (State.DONE, None)


async def test_what_is_finished_is_not_claimed_again(engine: Engine, store: FullStore) -> None:
    await push(store, 3)
    first, second, third = await take(store)
    await settle(store, first, Done(b"h"))
    await settle(store, second, Done(b"h", ttl=60.0))
    await settle(store, third, DEAD)
    await engine.advance(10_000.0)
    assert await take(store) == []
    assert await store.reclaim(QUEUE, 10, worker="w", lease=1.0) == []


async def test_a_retry_waits_for_its_delay_and_keeps_its_history(
    engine: Engine, store: FullStore
) -> None:
    claim = await pushed_and_taken(store)
    await engine.advance(7.0)
    await settle(store, claim, Retry(b"so far", 60.0))
    found = await record(store, claim.id)
    assert (found.state, found.history, found.attempt) == (State.DELAYED, b"so far", 1)
    assert (found.worker, found.started_at, found.finished_at) == (None, None, None)
    assert found.run_at == pytest.approx(await now(store) + 60, abs=engine.tolerance)
    await engine.advance(58.0)
    assert await take(store) == []
    await engine.advance(3.0)
    again = await take_one(store)
    assert (again.id, again.attempt, again.history) == (claim.id, 2, b"so far")


async def test_a_retry_without_delay_is_ready_at_once(store: FullStore) -> None:
    claim = await pushed_and_taken(store)
    await settle(store, claim, Retry(b"so far", 0.0))
    assert (await record(store, claim.id)).state is State.READY
    assert ids(await take(store)) == [claim.id]


async def test_a_release_changes_neither_history_nor_crashes(
    engine: Engine, store: FullStore
) -> None:
    claim = await pushed_and_taken(store)
    await settle(store, claim, Retry(b"so far", 0.0))
    claim = await take_one(store)
    await settle(store, claim, Release(30.0))
    found = await record(store, claim.id)
    assert (found.state, found.attempt, found.crashes) == (State.DELAYED, 1, 0)
    assert (found.history, found.worker, found.started_at) == (b"so far", None, None)
    await engine.advance(31.0)
    assert (await take_one(store)).attempt == 2


async def test_a_dead_letter_keeps_its_reason_and_all_the_rest(
    engine: Engine, store: FullStore
) -> None:
    [pushed] = await push(store, 1, "mail", body=b"content", priority=-9)
    claim = await take_one(store, "mail")
    await settle(store, claim, Retry(b"first", 0.0))
    claim = await take_one(store, "mail")
    await settle(store, claim, Dead(b"all of it", "max_attempts"))
    found = await record(store, pushed)
    assert (found.id, found.queue, found.state) == (pushed, "mail", State.DEAD)
    assert (found.body, found.priority) == (b"content", -9)
    assert (found.history, found.reason) == (b"all of it", "max_attempts")
    assert (found.attempt, found.crashes) == (2, 0)
    assert (found.worker, found.started_at, found.value) == (None, None, None)
    assert found.finished_at == pytest.approx(await now(store), abs=engine.tolerance)
    await engine.advance(10_000_000.0)
    assert await store.prune(10) == 0
    assert (await record(store, pushed)).state is State.DEAD


async def test_many_outcomes_in_one_call(engine: Engine, store: FullStore) -> None:
    await push(store, 5, "one")
    await push(store, 1, "two")
    first = await take(store, queue="one")
    [second] = await take(store, queue="two")
    settled = await store.settle(
        [
            Settlement(first[0], Done(b"h")),
            Settlement(second, Dead(b"h", "two")),
            Settlement(first[1], Done(b"h", b"v", ttl=60.0)),
            Settlement(first[2], Retry(b"r", 60.0)),
            Settlement(first[3], Release()),
            Settlement(first[4], Dead(b"h", "one")),
        ]
    )
    assert (settled.lost, settled.evicted) == ([], {})
    found = await store.lookup(ids([*first, second]))
    assert [found[id].state if id in found else None for id in ids([*first, second])] == [
        None,
        State.DONE,
        State.DELAYED,
        State.READY,
        State.DEAD,
        State.DEAD,
    ]
    assert [found[first[4].id].reason, found[second.id].reason] == ["one", "two"]


async def test_over_the_cap_the_first_buried_are_dropped_and_counted(engine: Engine) -> None:
    store = await engine.opened(dead_letter_cap=3)
    buried = await bury(store, 3)
    await bury(store, 1, "other")
    claim = await pushed_and_taken(store)
    assert (await settle(store, claim, DEAD)).evicted == {QUEUE: 1}
    assert ids(await browse_all(store, State.DEAD)) == [*buried[1:], claim.id]
    assert await store.lookup(buried[:1]) == {}
    assert ((await stats(store)).dead, (await stats(store, "other")).dead) == (3, 1)


async def test_the_first_buried_is_not_the_first_pushed(engine: Engine) -> None:
    store = await engine.opened(dead_letter_cap=2)
    await push(store, 3)
    first, second, third = await take(store)
    evicted = []
    for claim in (third, first, second):
        evicted.append((await settle(store, claim, DEAD)).evicted)
        await engine.advance(1.0)
    assert evicted == [{}, {}, {QUEUE: 1}]
    assert ids(await browse_all(store, State.DEAD)) == [first.id, second.id]


async def test_evictions_of_one_call_are_counted_for_each_queue(engine: Engine) -> None:
    store = await engine.opened(dead_letter_cap=2)
    counts = {"one": 5, "two": 3, "three": 2}
    claims = []
    for queue, count in counts.items():
        await push(store, count, queue)
        claims += await take(store, queue=queue)
    settled = await store.settle([Settlement(claim, DEAD) for claim in claims])
    assert (settled.lost, settled.evicted) == ([], {"one": 3, "two": 1})
    for queue in counts:
        kept = [claim.id for claim in claims if claim.queue == queue][-2:]
        assert ids(await browse_all(store, State.DEAD, queue)) == kept


async def test_only_burials_evict(engine: Engine) -> None:
    store = await engine.opened(dead_letter_cap=1)
    await bury(store, 1)
    await push(store, 3)
    outcomes: list[Outcome] = [Done(b"h", ttl=9.0), Retry(b"h", 9.0), Release(9.0)]
    for claim, outcome in zip(await take(store), outcomes, strict=True):
        assert (await settle(store, claim, outcome)).evicted == {}
    assert (await stats(store)).dead == 1


async def test_a_cap_of_zero_keeps_no_dead_letters(engine: Engine) -> None:
    store = await engine.opened(dead_letter_cap=0)
    claim = await pushed_and_taken(store)
    assert (await settle(store, claim, DEAD)).evicted == {QUEUE: 1}
    assert await store.lookup([claim.id]) == {}
    assert (await stats(store)).dead == 0
