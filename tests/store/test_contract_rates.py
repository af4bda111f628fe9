"""Rate limits: starts of a key come at an even pace, and nothing is polled meanwhile."""

import pytest

from tests.store.engines import Engine
from tests.store.helpers import (
    DONE,
    LEASE,
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
from tests.store.test_contract_limits import claim, knows_limits, push_limited, states
from vtasks_asgi.core.limits import TOLERANCE, Limit
from vtasks_asgi.core.outcome import Release
from vtasks_asgi.store.base import FullStore, Settlement, State

__all__ = ["knows_limits"]  # a fixture that every test here uses

SLOW = Limit("key", None, 10.0)
QUICK = Limit("key", None, 0.001)


async def test_one_starts_every_interval(engine: Engine, store: FullStore) -> None:
    pushed = await push_limited(store, SLOW, 3)
    claimed = await claim(store)
    assert (ids(claimed.claims), claimed.next_due) == (pushed[:1], 0.0)
    claimed = await claim(store)
    assert claimed.claims == []
    wait = 10.0 - TOLERANCE
    assert claimed.next_due == pytest.approx(wait, abs=engine.tolerance)
    for id in pushed[1:]:
        await engine.advance(wait - 1.0)
        assert await take(store) == []
        await engine.advance(1.01)
        claimed = await claim(store)
        assert ids(claimed.claims) == [id]
        assert claimed.claims[0].attempt == 1
        wait = 10.0 - 0.01
    assert claimed.next_due is None


async def test_of_those_that_wait_one_has_a_date(engine: Engine, store: FullStore) -> None:
    began = await now(store)
    first, second, third, fourth = await push_limited(store, SLOW, 4)
    assert ids(await take(store)) == [first]
    dates = [(await record(store, id)).run_at for id in (second, third, fourth)]
    assert dates == [pytest.approx(began + 10.0 - TOLERANCE, abs=engine.tolerance), None, None]
    assert (await stats(store)).delayed == 3


async def test_what_ran_quickly_does_not_quicken_the_pace(engine: Engine, store: FullStore) -> None:
    first, second, _ = await push_limited(store, SLOW, 3)
    held = await take_one(store)
    assert await take(store) == []
    await settle(store, held)
    assert await take(store) == []
    assert await states(store, [second]) == [State.DELAYED]
    await engine.advance(10.0)
    assert ids(await take(store)) == [second]
    assert held.id == first


async def test_a_pause_is_no_credit(engine: Engine, store: FullStore) -> None:
    await push_limited(store, SLOW)
    assert len(await take(store)) == 1
    await engine.advance(1000.0)
    pushed = await push_limited(store, SLOW, 3)
    assert ids(await take(store)) == pushed[:1]
    assert await take(store) == []


async def test_a_small_lateness_is_caught_up(engine: Engine, store: FullStore) -> None:
    pushed = await push_limited(store, SLOW, 4)
    await take(store)
    await take(store)
    for id in pushed[1:]:  # each one as late as it may be; the next is due as if it had not been
        await engine.advance(10.0)
        assert ids(await take(store)) == [id]
        await take(store)


async def test_high_rates_come_in_portions(engine: Engine, store: FullStore) -> None:
    pushed = await push_limited(store, QUICK, 200)
    first = await take(store)
    assert 50 <= len(first) <= 52
    assert await take(store) == []
    assert (await stats(store)).delayed == 200 - len(first)
    done = ids(first)
    for _ in range(20):
        await engine.advance(0.03)
        some = [*ids(await take(store)), *ids(await take(store))]
        assert len(some) <= 51
        done += some
    assert done == pushed


async def test_a_release_has_used_its_turn(engine: Engine, store: FullStore) -> None:
    [first, _] = await push_limited(store, SLOW, 2)
    held = await take_one(store)
    assert await take(store) == []
    await settle(store, held, Release())
    claimed = await claim(store)
    assert (claimed.claims, claimed.next_due) == ([], 0.0)
    await engine.advance(10.0)
    again = await take_one(store)
    assert (again.id, again.attempt) == (first, 1)


async def test_the_best_of_those_that_wait_gets_the_next_date(
    engine: Engine, store: FullStore
) -> None:
    first, second = await push_limited(store, SLOW, 2)
    assert ids(await take(store)) == [first]
    assert (await record(store, second)).run_at is not None
    [high] = await push_limited(store, SLOW, priority=1)
    assert await take(store) == []
    assert (await record(store, second)).run_at is None
    assert (await record(store, high)).run_at is not None
    await engine.advance(10.0)
    assert ids(await take(store)) == [high]


async def test_what_has_no_limit_is_not_held_up(store: FullStore) -> None:
    pushed = await push_limited(store, SLOW, 20)
    free = await push(store, 2)
    taken = [*ids(await take(store, 2)), *ids(await take(store, 2)), *ids(await take(store, 2))]
    assert taken == [pushed[0], *free]


async def test_both_limits_hold_at_once(engine: Engine, store: FullStore) -> None:
    pushed = await push_limited(store, Limit("key", 2, 10.0), 4)
    claims = []
    for _ in range(3):
        claims += await take(store)
        await take(store)
        await engine.advance(10.0)
    assert ids(claims) == pushed[:2]
    await settle(store, claims[0])
    assert ids(await take(store)) == pushed[2:3]
    await settle(store, claims[1])
    assert await take(store) == []
    await engine.advance(10.0)
    assert ids(await take(store)) == pushed[3:]


async def test_a_head_that_was_cancelled_has_a_successor(engine: Engine, store: FullStore) -> None:
    _, second, third, fourth = await push_limited(store, SLOW, 4)
    await take(store)
    assert await states(store, [second, third]) == [State.DELAYED] * 2
    await store.cancel([second])
    await reclaim(store)
    await engine.advance(10.0)
    assert ids(await take(store)) == [third]
    await store.cancel([fourth])
    await reclaim(store)
    assert (await claim(store)).next_due is None


async def test_settling_many_at_once_lets_one_go(store: FullStore) -> None:
    both = Limit("key", 60, 0.001)
    pushed = await push_limited(store, both, 80)
    claims = await take(store)
    assert await take(store) == []
    await store.settle([Settlement(each, DONE) for each in claims])
    left = pushed[len(claims) :]
    dated = [(await record(store, id)).run_at is not None for id in left]
    assert sum(dated) == 25


async def test_the_pace_is_kept_when_nothing_is_left(engine: Engine, store: FullStore) -> None:
    await push_limited(store, SLOW)
    await settle(store, await take_one(store))
    await store.prune(100)
    [second] = await push_limited(store, SLOW)
    assert await take(store) == []
    await engine.advance(5.0)
    assert await take(store) == []
    await engine.advance(5.0)
    assert ids(await take(store)) == [second]


async def test_an_expired_lease_keeps_its_turn(engine: Engine, store: FullStore) -> None:
    _, second = await push_limited(store, Limit("key", 1, 10.0), 2)
    await take(store)
    await take(store)
    await engine.advance(LEASE + 1)
    [lost] = await reclaim(store)
    assert await take(store, queue=QUEUE) == []
    await settle(store, lost)
    assert ids(await take(store)) == [second]
