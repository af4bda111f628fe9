"""Notes: what runs leave for the next one, fenced like everything a claim may write."""

from dataclasses import replace

import pytest

from tests.store.engines import Engine
from tests.store.helpers import (
    DEAD,
    LEASE,
    QUEUE,
    browse_all,
    push,
    pushed_and_taken,
    reclaim,
    record,
    settle,
    take_one,
)
from vtasks_asgi.core.outcome import Done, Outcome, Release, Retry
from vtasks_asgi.store.base import Claim, FullStore, Settlement, State

NOTE = b"\x00page 7\n\xff"


async def noted(store: FullStore, note: bytes = NOTE) -> Claim:
    """A claim whose note is saved."""
    claim = await pushed_and_taken(store)
    claim.note = note
    assert await store.save(claim)
    return claim


async def test_a_message_begins_without_a_note(store: FullStore) -> None:
    claim = await pushed_and_taken(store)
    assert claim.note is None
    assert (await record(store, claim.id)).note is None


@pytest.mark.parametrize("note", [NOTE, b"", bytes(range(256)) * 4096])
async def test_a_saved_note_is_seen_at_once_and_changes_nothing_else(
    store: FullStore, note: bytes
) -> None:
    claim = await pushed_and_taken(store)
    before = await record(store, claim.id)
    claim.note = note
    assert await store.save(claim)
    assert await record(store, claim.id) == replace(before, note=note)
    assert (await settle(store, claim)).lost == []


async def test_the_last_one_saved_counts(store: FullStore) -> None:
    claim = await noted(store, b"first")
    for claim.note in (b"second", None, b"third"):
        assert await store.save(claim)
        assert (await record(store, claim.id)).note == claim.note


@pytest.mark.parametrize("outcome", [Retry(b"h", 0.0), Retry(b"h", 5.0), Release(), Release(5.0)])
async def test_the_next_run_finds_it(engine: Engine, store: FullStore, outcome: Outcome) -> None:
    claim = await noted(store)
    await settle(store, claim, outcome)
    assert (await record(store, claim.id)).note == NOTE
    await engine.advance(6.0)
    again = await take_one(store)
    assert (again.id, again.note) == (claim.id, NOTE)


@pytest.mark.parametrize("outcome", [Retry(b"h", 0.0), Release(), Done(b"h", ttl=60.0), DEAD])
async def test_a_change_not_yet_saved_is_written_with_the_outcome(
    store: FullStore, outcome: Outcome
) -> None:
    claim = await noted(store, b"old")
    claim.note = NOTE
    await settle(store, claim, outcome)
    assert (await record(store, claim.id)).note == NOTE


async def test_a_rescue_finds_it_and_the_late_worker_cannot_change_it(
    engine: Engine, store: FullStore
) -> None:
    late = await noted(store)
    await engine.advance(LEASE + 1)
    [current] = await reclaim(store)
    assert current.note == NOTE
    late.note = b"too late"
    assert not await store.save(late)
    assert (await settle(store, late, Retry(b"h", 0.0))).lost == [late]
    assert (await record(store, late.id)).note == NOTE
    current.note = b"in time"
    assert await store.save(current)
    await settle(store, current, Retry(b"h", 0.0))
    assert (await take_one(store)).note == b"in time"


async def test_an_expired_lease_that_nobody_took_over_may_still_save(
    engine: Engine, store: FullStore
) -> None:
    claim = await pushed_and_taken(store)
    await engine.advance(LEASE + 1)
    claim.note = NOTE
    assert await store.save(claim)


@pytest.mark.parametrize("outcome", [Retry(b"h", 0.0), Release(), Done(b"h", ttl=60.0), DEAD])
async def test_a_settled_claim_saves_nothing(store: FullStore, outcome: Outcome) -> None:
    claim = await noted(store)
    await settle(store, claim, outcome)
    assert not await store.save(replace(claim, note=b"too late"))
    assert (await record(store, claim.id)).note == NOTE


async def test_nothing_is_saved_for_a_message_that_is_gone(store: FullStore) -> None:
    claim = await noted(store)
    await settle(store, claim)
    assert not await store.save(claim)
    assert await store.lookup([claim.id]) == {}


@pytest.mark.parametrize(
    ("outcome", "state"), [(Done(b"h", ttl=60.0), State.DONE), (DEAD, State.DEAD)]
)
async def test_it_is_kept_as_long_as_what_is_kept_of_its_message(
    engine: Engine, store: FullStore, outcome: Outcome, state: State
) -> None:
    claim = await noted(store)
    await settle(store, claim, outcome)
    assert [each.note for each in await browse_all(store, state)] == [NOTE]
    await store.purge(QUEUE, state)
    assert await store.lookup([claim.id]) == {}


async def test_a_requeued_dead_letter_keeps_it(store: FullStore) -> None:
    claim = await noted(store)
    await settle(store, claim, DEAD)
    assert await store.requeue([claim.id]) == 1
    assert (await record(store, claim.id)).note == NOTE
    again = await take_one(store)
    assert (again.id, again.attempt, again.note) == (claim.id, 1, NOTE)


async def test_each_message_has_its_own(store: FullStore) -> None:
    ids = await push(store, 3)
    for number, claim in enumerate((await store.claim(QUEUE, 3, worker="w", lease=LEASE)).claims):
        claim.note = b"note %d" % number
        assert await store.save(claim)
    found = await store.lookup(ids)
    assert [found[id].note for id in ids] == [b"note 0", b"note 1", b"note 2"]


async def test_notes_are_settled_each_with_its_own_claim(store: FullStore) -> None:
    await push(store, 2)
    first, second = (await store.claim(QUEUE, 2, worker="w", lease=LEASE)).claims
    first.note = NOTE
    await store.settle([Settlement(second, Done(b"h", ttl=9.0)), Settlement(first, Release())])
    assert (await record(store, first.id)).note == NOTE
    assert (await record(store, second.id)).note is None
