"""Settling inside the caller's transaction, where the store can be a part of it."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from django.db import transaction

from tests.services import fixtures
from tests.store.engines import ENGINES, Engine
from tests.store.helpers import (
    DEAD,
    DONE,
    LEASE,
    QUEUE,
    ids,
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
from vtasks_asgi.core.outcome import Done, Outcome, Release, Retry
from vtasks_asgi.store.base import Claim, FullStore, Joining, Settled, Settlement, State

OUTCOMES: list[Outcome] = [DONE, Done(b"h", b"v", 60.0), Retry(b"h", 60.0), Release(), DEAD]


def engines(wanted: Callable[[type[Engine]], bool]) -> pytest.MarkDecorator:
    """Run with each of these only."""
    params = [
        pytest.param(name, marks=[pytest.mark.server] if kind.fixture in fixtures.NAMES else [])
        for name, kind in ENGINES.items()
        if wanted(kind)
    ]
    return pytest.mark.parametrize("engine_kind", params, indirect=True)


JOINING = engines(lambda kind: kind.alias is not None or kind.fixture is None)
DATABASES = engines(lambda kind: kind.alias is not None)


async def settle_sync(
    engine: Engine, store: FullStore, *settlements: tuple[Claim, Outcome]
) -> Settled:
    """From another thread, without a transaction of the caller's."""
    assert isinstance(store, Joining)
    wanted = [Settlement(*each) for each in settlements]
    return await engine.in_thread(lambda: store.settle_sync(wanted))


@JOINING
async def test_it_is_settle_from_another_thread(engine: Engine, store: FullStore) -> None:
    await push(store, len(OUTCOMES), "one")
    await push(store, len(OUTCOMES), "two")
    here, there = await take(store, queue="one"), await take(store, queue="two")
    await store.settle([Settlement(*each) for each in zip(here, OUTCOMES, strict=True)])
    settled = await settle_sync(engine, store, *zip(there, OUTCOMES, strict=True))
    assert (settled.lost, settled.evicted) == ([], {})
    found = await store.lookup(ids([*here, *there]))
    states = [found[each.id].state if each.id in found else None for each in here]
    assert states == [None, State.DONE, State.DELAYED, State.READY, State.DEAD]
    assert [found[each.id].state if each.id in found else None for each in there] == states


@JOINING
async def test_the_token_fences_it(engine: Engine, store: FullStore) -> None:
    late = await pushed_and_taken(store)
    await engine.advance(LEASE + 1)
    [current] = await reclaim(store)
    kept = await pushed_and_taken(store, "other")
    settled = await settle_sync(engine, store, (late, DONE), (kept, DONE), (kept, DEAD))
    assert sorted(ids(settled.lost)) == sorted([late.id, kept.id])
    assert (await record(store, late.id)).state is State.RUNNING
    assert (await settle(store, current)).lost == []


@JOINING
async def test_the_end_of_a_message_frees_its_key(engine: Engine, store: FullStore) -> None:
    await store.push([Message(new_id(), QUEUE, b"", unique="key")])
    await settle_sync(engine, store, (await take_one(store), DONE))
    assert (await store.push([Message(new_id(), QUEUE, b"", unique="key")]))[0].stored


@DATABASES
@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("commits", [True, False])
async def test_it_is_part_of_the_callers_transaction(
    engine: Engine, store: FullStore, outcome: Outcome, commits: bool
) -> None:
    def work() -> None:
        assert isinstance(store, Joining)
        with suppress(ZeroDivisionError), transaction.atomic(using=engine.alias):
            store.push_sync([effect])
            assert store.settle_sync([Settlement(claim, outcome)]).lost == []
            assert store.settle_sync([Settlement(claim, outcome)]).lost == [claim]
            if not commits:
                raise ZeroDivisionError

    claim, effect = await pushed_and_taken(store), Message(new_id(), "effects", b"")
    await engine.in_thread(work)
    assert (await stats(store, "effects")).ready == int(commits)
    assert ids((await settle(store, claim, outcome)).lost) == [claim.id] * commits


@DATABASES
async def test_a_loss_may_roll_everything_back(engine: Engine, store: FullStore) -> None:
    def work() -> None:
        assert isinstance(store, Joining)
        with suppress(ZeroDivisionError), transaction.atomic(using=engine.alias):
            store.push_sync([Message(new_id(), "effects", b"")])
            if store.settle_sync([Settlement(late, DONE)]).lost:
                raise ZeroDivisionError

    late = await pushed_and_taken(store)
    await engine.advance(LEASE + 1)
    [current] = await reclaim(store)
    await engine.in_thread(work)
    assert (await stats(store, "effects")).ready == 0
    assert (await settle(store, current)).lost == []
