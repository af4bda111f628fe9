"""Leases: held while extended, taken over when they run out, and fenced by the token."""

from dataclasses import replace

import pytest

from tests.store.engines import Engine
from tests.store.helpers import (
    DEAD,
    LEASE,
    QUEUE,
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
from vtasks_asgi.core.outcome import Dead, Done, Outcome, Release, Retry
from vtasks_asgi.store.base import Claim, FullStore, Settlement, State

OUTCOMES: list[Outcome] = [
    Done(b"late"),
    Done(b"late", b"value", ttl=60.0),
    Retry(b"late", 0.0),
    Retry(b"late", 60.0),
    Release(),
    Release(60.0),
    Dead(b"late", "late"),
]


def kind(outcome: Outcome) -> str:
    return repr(outcome)


async def extend(
    engine: Engine, store: FullStore, *claims: Claim, lease: float = LEASE
) -> list[Claim]:
    return await engine.in_thread(lambda: store.extend(claims, lease=lease))


async def taken_over(engine: Engine, store: FullStore) -> tuple[Claim, Claim]:
    """A claim whose lease has passed on, and the claim that holds it now."""
    late = await pushed_and_taken(store, worker="late")
    await engine.advance(LEASE + 1)
    [current] = await reclaim(store, worker="rescuer")
    return late, current


async def test_a_running_lease_is_nobody_elses(engine: Engine, store: FullStore) -> None:
    await pushed_and_taken(store)
    assert await reclaim(store) == []
    await engine.advance(LEASE - 2)
    assert await reclaim(store) == []
    await engine.advance(3.0)
    assert len(await reclaim(store)) == 1
    assert await reclaim(store) == []


async def test_only_reclaim_takes_an_expired_lease(engine: Engine, store: FullStore) -> None:
    claim = await pushed_and_taken(store)
    await engine.advance(LEASE + 1)
    assert await take(store) == []
    found = await record(store, claim.id)
    assert (found.state, found.crashes) == (State.RUNNING, 0)


async def test_what_is_reclaimed_tells_who_lost_it(engine: Engine, store: FullStore) -> None:
    await push(store, 1, body=b"content", priority=3)
    claim = await take_one(store, worker="lost one")
    await settle(store, claim, Retry(b"earlier", 0.0))
    second = await take_one(store, worker="lost one")
    await engine.advance(LEASE + 1)
    [found] = await reclaim(store, worker="rescuer")
    assert (found.id, found.queue, found.body) == (claim.id, QUEUE, b"content")
    assert (found.priority, found.history) == (3, b"earlier")
    assert found.token not in {claim.token, second.token}
    assert found.lost_worker == "lost one"
    since = await now(store) - LEASE - 1
    assert found.lost_at == pytest.approx(since, abs=engine.tolerance)
    seen = await record(store, claim.id)
    assert (seen.state, seen.worker) == (State.RUNNING, "rescuer")
    assert seen.started_at == pytest.approx(await now(store), abs=engine.tolerance)


async def test_a_crash_is_counted_and_the_attempt_is_not_counted_again(
    engine: Engine, store: FullStore
) -> None:
    claim = await pushed_and_taken(store, worker="first")
    for crashes, lost in ((1, "first"), (2, "rescuer 1"), (3, "rescuer 2")):
        await engine.advance(LEASE + 1)
        [claim] = await reclaim(store, worker=f"rescuer {crashes}")
        assert (claim.attempt, claim.crashes, claim.lost_worker) == (1, crashes, lost)
        seen = await record(store, claim.id)
        assert (seen.attempt, seen.crashes) == (1, crashes)
    await settle(store, claim, Retry(b"h", 0.0))
    again = await take_one(store)
    assert (again.attempt, again.crashes, again.lost_worker) == (2, 3, None)


async def test_a_reclaimed_claim_has_no_attempt_to_give_back(
    engine: Engine, store: FullStore
) -> None:
    _, current = await taken_over(engine, store)
    await settle(store, current, Release())
    found = await record(store, current.id)
    assert (found.state, found.attempt, found.crashes) == (State.READY, 1, 1)
    again = await take_one(store)
    assert (again.attempt, again.crashes) == (2, 1)
    await settle(store, again, Release())
    assert (await record(store, current.id)).attempt == 1


async def test_the_longest_expired_come_first(engine: Engine, store: FullStore) -> None:
    claims = []
    for _ in range(4):
        claims.append(await pushed_and_taken(store))
        await engine.advance(1.0)
    assert await extend(engine, store, claims[0]) == []
    await engine.advance(LEASE + 1)
    assert ids(await reclaim(store, 2)) == ids(claims[1:3])
    assert ids(await reclaim(store, 2)) == ids([claims[3], claims[0]])


async def test_a_lease_being_extended_never_expires(engine: Engine, store: FullStore) -> None:
    claim = await pushed_and_taken(store)
    for _ in range(5):
        await engine.advance(LEASE - 2)
        assert await reclaim(store) == []
        assert await extend(engine, store, claim) == []
    assert (await settle(store, claim)).lost == []


async def test_an_extension_counts_from_now(engine: Engine, store: FullStore) -> None:
    claim = await pushed_and_taken(store)
    await engine.advance(LEASE - 2)
    await extend(engine, store, claim, lease=10.0)
    await engine.advance(9.0)
    assert await reclaim(store) == []
    await engine.advance(2.0)
    assert ids(await reclaim(store)) == [claim.id]


async def test_until_it_is_taken_over_an_expired_lease_is_its_holders(
    engine: Engine, store: FullStore
) -> None:
    await push(store, 2)
    first, second = await take(store)
    await engine.advance(LEASE * 10)
    assert await extend(engine, store, first) == []
    assert (await settle(store, second)).lost == []
    assert await reclaim(store) == []
    assert (await settle(store, first)).lost == []


async def test_extend_tells_which_ones_are_lost(engine: Engine, store: FullStore) -> None:
    await push(store, 4)
    settled, retried, expired, held = await take(store)
    await settle(store, settled)
    await settle(store, retried, Retry(b"h", 0.0))
    await take_one(store)
    await engine.advance(LEASE - 1)
    await extend(engine, store, held)
    await engine.advance(2.0)
    assert expired.id in ids(await reclaim(store))
    lost = await extend(engine, store, held, settled, expired, retried)
    assert sorted(ids(lost)) == sorted([settled.id, expired.id, retried.id])


async def test_who_lost_a_lease_cannot_extend_it(engine: Engine, store: FullStore) -> None:
    late, current = await taken_over(engine, store)
    assert await extend(engine, store, late, lease=LEASE * 100) == [late]
    await engine.advance(LEASE + 1)
    assert ids(await reclaim(store)) == [current.id]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=kind)
async def test_who_lost_a_lease_cannot_settle(
    engine: Engine, store: FullStore, outcome: Outcome
) -> None:
    late, current = await taken_over(engine, store)
    before = await record(store, late.id)
    settled = await settle(store, late, outcome)
    assert ids(settled.lost) == [late.id]
    assert await record(store, late.id) == before
    assert await take(store) == []
    assert (await settle(store, current, DEAD)).lost == []


@pytest.mark.parametrize("outcome", OUTCOMES, ids=kind)
async def test_settling_twice_is_a_loss_and_no_error(store: FullStore, outcome: Outcome) -> None:
    claim = await pushed_and_taken(store)
    assert (await settle(store, claim, outcome)).lost == []
    before = await store.lookup([claim.id])
    for after in OUTCOMES:
        assert ids((await settle(store, claim, after)).lost) == [claim.id]
        assert await store.lookup([claim.id]) == before


@pytest.mark.parametrize("outcome", OUTCOMES, ids=kind)
async def test_a_claim_of_an_earlier_attempt_cannot_settle_a_later_one(
    store: FullStore, outcome: Outcome
) -> None:
    for first_outcome in (Release(), Retry(b"h", 0.0)):
        await push(store)
        first = await take_one(store)
        await settle(store, first, first_outcome)
        second = await take_one(store)
        assert second.id == first.id
        assert ids((await settle(store, first, outcome)).lost) == [first.id]
        assert (await record(store, first.id)).state is State.RUNNING
        assert (await settle(store, second)).lost == []


async def test_the_name_of_the_worker_opens_nothing(engine: Engine, store: FullStore) -> None:
    twin = await engine.opened()
    late = await pushed_and_taken(store, worker="same")
    await engine.advance(LEASE + 1)
    [current] = await reclaim(twin, worker="same")
    assert current.lost_worker == "same"
    assert await extend(engine, store, late) == [late]
    assert ids((await settle(store, late)).lost) == [late.id]
    assert await extend(engine, twin, current) == []
    assert (await settle(twin, current)).lost == []


@pytest.mark.parametrize("token", ["wrong", ""])
async def test_a_forged_token_opens_nothing(engine: Engine, store: FullStore, token: str) -> None:
    waiting = await push(store, 1, "elsewhere")
    claim = replace(await pushed_and_taken(store), token=token)
    every = [claim.id, *waiting]
    before = await store.lookup(every)
    assert await extend(engine, store, claim) == [claim]
    for outcome in OUTCOMES:
        assert ids((await settle(store, claim, outcome)).lost) == [claim.id]
        assert await store.lookup(every) == before


async def test_lost_settlements_do_not_hinder_the_others(engine: Engine, store: FullStore) -> None:
    late, current = await taken_over(engine, store)
    await push(store, 4)
    done, kept, dead, retried = await take(store)
    settled = await store.settle(
        [
            Settlement(late, Done(b"late", ttl=60.0)),
            Settlement(done, Done(b"h")),
            Settlement(late, Dead(b"late", "late")),
            Settlement(kept, Done(b"h", b"value", ttl=60.0)),
            Settlement(dead, DEAD),
            Settlement(dead, Retry(b"h", 0.0)),
            Settlement(retried, Retry(b"h", 60.0)),
        ]
    )
    assert sorted(ids(settled.lost)) == sorted([late.id, late.id, dead.id])
    found = await store.lookup(ids([current, done, kept, dead, retried]))
    assert {id: each.state for id, each in found.items()} == {
        current.id: State.RUNNING,
        kept.id: State.DONE,
        dead.id: State.DEAD,
        retried.id: State.DELAYED,
    }
    assert (await stats(store)).running == 1
