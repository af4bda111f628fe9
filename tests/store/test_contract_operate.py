"""What operators do: requeue dead letters, purge a state, prune results."""

import pytest

from tests.store.engines import Engine
from tests.store.helpers import (
    DEAD,
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
from vtasks_asgi.core.outcome import Done, Retry
from vtasks_asgi.store.base import Claim, FullStore, State


async def keep_result(
    store: FullStore, *, ttl: float = 60.0, queue: str = QUEUE, value: bytes | None = None
) -> str:
    """A finished message whose result is kept; its id."""
    claim = await pushed_and_taken(store, queue)
    await settle(store, claim, Done(b"h", value, ttl=ttl))
    return claim.id


async def test_a_requeued_dead_letter_is_as_if_just_pushed(
    engine: Engine, store: FullStore
) -> None:
    [pushed] = await push(store, 1, "mail", body=b"content", priority=9)
    claim = await take_one(store, "mail")
    await settle(store, claim, Retry(b"first", 0.0))
    claim = await take_one(store, "mail")
    await engine.advance(LEASE + 1)
    [claim] = await reclaim(store, queue="mail")
    await settle(store, claim, DEAD)
    assert await store.requeue([pushed]) == 1
    found = await record(store, pushed)
    assert (found.id, found.queue, found.state) == (pushed, "mail", State.READY)
    assert (found.body, found.priority) == (b"content", 9)
    assert (found.attempt, found.crashes, found.history) == (0, 0, None)
    assert (found.reason, found.finished_at, found.worker) == (None, None, None)
    counted = await stats(store, "mail")
    assert (counted.ready, counted.dead) == (1, 0)
    again = await take_one(store, "mail")
    assert (again.id, again.attempt, again.crashes) == (pushed, 1, 0)
    assert (again.history, again.body) == (None, b"content")
    assert (await settle(store, again)).lost == []


async def test_requeued_dead_letters_queue_behind_what_was_there(store: FullStore) -> None:
    buried = await bury(store, 2)
    [waiting] = await push(store)
    [urgent] = await push(store, 1, priority=1)
    assert await store.requeue(buried) == 2
    assert ids(await take(store)) == [urgent, waiting, *buried]


async def test_only_dead_letters_are_requeued_and_counted(store: FullStore) -> None:
    buried = await bury(store, 3)
    done = await keep_result(store)
    running = (await pushed_and_taken(store)).id
    [delayed] = await push(store, run_at=await now(store) + 60)
    others = [done, running, delayed]
    before = await store.lookup(others)
    assert await store.requeue([buried[0], *others, "unknown", buried[0], buried[2]]) == 2
    assert await store.lookup(others) == before
    assert ids(await browse_all(store, State.DEAD)) == [buried[1]]
    assert await store.requeue([buried[0]]) == 0


async def test_a_requeued_message_can_be_buried_and_requeued_again(store: FullStore) -> None:
    buried = await bury(store)
    for _ in range(3):
        assert await store.requeue(buried) == 1
        claim = await take_one(store)
        assert claim.attempt == 1
        await settle(store, claim, DEAD)
    assert ids(await browse_all(store, State.DEAD)) == buried


async def one_of_each(store: FullStore, queue: str) -> dict[State, str]:
    found = {State.DEAD: (await bury(store, 1, queue))[0]}
    found[State.DONE] = await keep_result(store, queue=queue)
    found[State.RUNNING] = (await pushed_and_taken(store, queue)).id
    found[State.DELAYED] = (await push(store, 1, queue, run_at=await now(store) + 3600))[0]
    found[State.READY] = (await push(store, 1, queue, priority=-1))[0]  # claimed after the others
    return found


@pytest.mark.parametrize("state", sorted(set(State) - {State.RUNNING}))
async def test_purge_deletes_one_state_of_one_queue(store: FullStore, state: State) -> None:
    await push(store, 1, "other")
    mine, other = await one_of_each(store, QUEUE), await one_of_each(store, "other")
    assert await store.purge(QUEUE, state) == 1
    assert await store.purge(QUEUE, state) == 0
    gone = mine.pop(state)
    assert set(await store.lookup([gone, *mine.values(), *other.values()])) == {
        *mine.values(),
        *other.values(),
    }
    assert gone not in ids(await take(store))


async def test_what_runs_is_never_purged(store: FullStore) -> None:
    claim = await pushed_and_taken(store)
    for before in (None, await now(store) + 1000):
        with pytest.raises(ValueError, match="running"):
            await store.purge(QUEUE, State.RUNNING, before=before)
    assert (await settle(store, claim)).lost == []


async def test_purge_counts_what_it_deleted(store: FullStore) -> None:
    await push(store, 25)
    assert await store.purge("other", State.READY) == 0
    assert await store.purge(QUEUE, State.READY) == 25
    assert await take(store) == []


@pytest.mark.parametrize("state", sorted(set(State) - {State.RUNNING}))
async def test_purge_of_what_is_older(engine: Engine, store: FullStore, state: State) -> None:
    old = (await one_of_each(store, QUEUE))[state]
    await engine.advance(40.0)
    new = (await one_of_each(store, QUEUE))[state]
    await engine.advance(5.0)
    moment = await now(store)
    assert await store.purge(QUEUE, state, before=moment - 1000) == 0
    assert await store.purge(QUEUE, state, before=moment - 20) == 1
    assert set(await store.lookup([old, new])) == {new}
    assert await store.purge(QUEUE, state, before=moment) == 1


async def test_the_finished_are_as_old_as_their_end(engine: Engine, store: FullStore) -> None:
    await push(store, 2)
    dead, done = await take(store)
    await engine.advance(100.0)
    await settle(store, dead, DEAD)
    await settle(store, done, Done(b"h", ttl=1000.0))
    moment = await now(store) - 50
    assert await store.purge(QUEUE, State.DEAD, before=moment) == 0
    assert await store.purge(QUEUE, State.DONE, before=moment) == 0
    assert set(await store.lookup([dead.id, done.id])) == {dead.id, done.id}


async def test_prune_deletes_results_past_their_time(engine: Engine, store: FullStore) -> None:
    short = await keep_result(store, ttl=10.0)
    long = await keep_result(store, ttl=100.0, queue="other")
    dead = await bury(store)
    assert await store.prune(10) == 0
    await engine.advance(11.0)
    assert await store.prune(10) == 1
    assert await store.prune(10) == 0
    assert set(await store.lookup([short, long, *dead])) == {long, *dead}
    await engine.advance(100.0)
    assert await store.prune(10) == 1
    assert set(await store.lookup([long, *dead])) == set(dead)


async def test_prune_keeps_its_limit(engine: Engine, store: FullStore) -> None:
    for _ in range(7):
        await keep_result(store, ttl=10.0)
    await engine.advance(11.0)
    assert [await store.prune(3) for _ in range(4)] == [3, 3, 1, 0]


async def test_a_pruned_id_may_come_again(engine: Engine, store: FullStore) -> None:
    done = await keep_result(store, ttl=10.0)
    await engine.advance(11.0)
    await store.prune(10)
    claim: Claim = await pushed_and_taken(store)
    await settle(store, claim, DEAD)
    [again] = await store.lookup([claim.id])
    assert again != done
