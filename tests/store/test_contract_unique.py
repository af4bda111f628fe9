"""Unique keys: one live message holds a key, and the lock ends with it, however it ends."""

import asyncio

import pytest

from tests.store.engines import Engine
from tests.store.helpers import (
    DEAD,
    DONE,
    ODD_NAMES,
    QUEUE,
    bury,
    ids,
    now,
    reclaim,
    record,
    settle,
    stats,
    take,
    take_one,
)
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.outcome import Done, Outcome, Release, Retry
from vtasks_asgi.store.base import FullStore, Receipt, State, Ticked

KEY = "k" * 64


def unique(
    queue: str = QUEUE, *, key: str = KEY, keep: float | None = None, run_at: float | None = None
) -> Message:
    return Message(new_id(), queue, b"body", 0, run_at, key, keep)


async def push_one(store: FullStore, message: Message | None = None) -> Receipt:
    [receipt] = await store.push([message or unique()])
    return receipt


async def test_a_second_message_of_a_key_is_not_stored_and_names_the_holder(
    store: FullStore,
) -> None:
    first, second = unique(), unique()
    assert await push_one(store, first) == Receipt(first.id)
    assert await push_one(store, second) == Receipt(second.id, False, first.id)
    assert await store.lookup([second.id]) == {}
    assert ids(await take(store)) == [first.id]


async def test_of_one_bulk_the_first_of_a_key_is_stored_and_the_rest_unharmed(
    store: FullStore,
) -> None:
    one, two, other = unique(), unique(), unique(key="other")
    plain = Message(new_id(), QUEUE, b"plain")
    assert await store.push([one, plain, two, other]) == [
        Receipt(one.id),
        Receipt(plain.id),
        Receipt(two.id, False, one.id),
        Receipt(other.id),
    ]
    assert ids(await take(store)) == [one.id, plain.id, other.id]


async def test_pushing_the_holder_again_is_a_known_id_and_no_duplicate(store: FullStore) -> None:
    first = unique()
    await push_one(store, first)
    assert await push_one(store, first) == Receipt(first.id, False)


async def test_a_known_id_is_known_even_if_another_holds_its_key(store: FullStore) -> None:
    first, second = unique(), unique()
    await push_one(store, first)
    await settle(store, await take_one(store), Done(b"", None, 60.0))
    await push_one(store, second)
    assert await push_one(store, first) == Receipt(first.id, False)


async def test_a_key_belongs_to_its_queue(store: FullStore) -> None:
    assert (await push_one(store, unique("one"))).stored
    assert (await push_one(store, unique("two"))).stored
    assert not (await push_one(store, unique("one"))).stored


@pytest.mark.parametrize("outcome", [Retry(b"", 0.0), Retry(b"", 60.0), Release(), Release(5.0)])
async def test_a_message_that_runs_waits_or_is_tried_again_holds_its_key(
    engine: Engine, store: FullStore, outcome: Outcome
) -> None:
    first = unique(run_at=await now(store) + 30)
    await push_one(store, first)
    assert (await push_one(store)).holder == first.id
    await engine.advance(31.0)
    claim = await take_one(store)
    assert claim.unique == KEY
    assert (await push_one(store)).holder == first.id
    await settle(store, claim, outcome)
    assert (await push_one(store)).holder == first.id


@pytest.mark.parametrize("outcome", [DONE, Done(b"", b"1", 60.0), DEAD])
async def test_the_end_of_a_message_frees_its_key(store: FullStore, outcome: Outcome) -> None:
    await push_one(store)
    await settle(store, await take_one(store), outcome)
    second = unique()
    assert (await push_one(store, second)).stored
    assert ids(await take(store)) == [second.id]


async def test_an_id_that_comes_again_without_the_key_does_not_hold_it(store: FullStore) -> None:
    first = unique()
    await push_one(store, first)
    await settle(store, await take_one(store))
    await push_one(store, Message(first.id, QUEUE, b"plain"))
    assert (await push_one(store)).stored


async def test_a_rescued_message_still_holds_its_key_and_frees_it_at_its_end(
    engine: Engine, store: FullStore
) -> None:
    first = unique()
    await push_one(store, first)
    late = await take_one(store)
    await engine.advance(31.0)
    [claim] = await reclaim(store)
    assert claim.unique == KEY
    assert (await push_one(store)).holder == first.id
    await settle(store, claim)
    second = unique()
    assert (await push_one(store, second)).stored
    assert (await settle(store, late)).lost == [late]  # the first worker comes too late
    assert (await push_one(store)).holder == second.id


async def test_a_purged_message_frees_its_key(store: FullStore) -> None:
    await push_one(store)
    assert await store.purge(QUEUE, State.READY) == 1
    assert (await push_one(store)).stored


async def test_a_kept_key_outlives_its_message_for_its_time(
    engine: Engine, store: FullStore
) -> None:
    first = unique(keep=60.0)
    await push_one(store, first)
    await settle(store, await take_one(store))
    await engine.advance(59.0)
    assert (await push_one(store, unique(keep=60.0))).holder == first.id
    await engine.advance(2.0)
    assert (await push_one(store, unique(keep=60.0))).stored


async def test_a_kept_key_is_held_past_its_time_by_a_message_that_still_lives(
    engine: Engine, store: FullStore
) -> None:
    first = unique(keep=10.0)
    await push_one(store, first)
    await engine.advance(11.0)
    assert (await push_one(store)).holder == first.id
    await settle(store, await take_one(store))
    assert (await push_one(store)).stored


async def test_pruning_forgets_only_keys_nobody_holds(engine: Engine, store: FullStore) -> None:
    first, kept = unique(), unique(key="kept", keep=60.0)
    await store.push([first, kept])
    [one, two] = await take(store)
    await store.settle([])
    await settle(store, two)
    await store.prune(100)
    assert (await push_one(store)).holder == first.id
    assert (await push_one(store, unique(key="kept"))).holder == kept.id
    await settle(store, one)
    await engine.advance(61.0)
    await store.prune(100)
    assert (await push_one(store)).stored
    assert (await push_one(store, unique(key="kept"))).stored


async def test_a_requeued_letter_takes_its_key_again(store: FullStore) -> None:
    first = unique()
    await push_one(store, first)
    await settle(store, await take_one(store), DEAD)
    assert await store.requeue([first.id]) == 1
    assert (await push_one(store)).holder == first.id


async def test_a_letter_whose_key_is_held_by_now_stays_dead(store: FullStore) -> None:
    first, second = unique(), unique()
    await push_one(store, first)
    await settle(store, await take_one(store), DEAD)
    await push_one(store, second)
    [other] = await bury(store, 1, "elsewhere")
    assert await store.requeue([first.id, other]) == 1
    assert (await record(store, first.id)).state is State.DEAD
    await settle(store, await take_one(store))
    assert await store.requeue([first.id]) == 1


async def test_a_key_stays_free_though_its_last_holders_id_is_pushed_anew(store: FullStore) -> None:
    first = unique()
    await push_one(store, first)
    await settle(store, await take_one(store), DONE)
    assert await push_one(store, Message(first.id, QUEUE, b"anew")) == Receipt(first.id)
    assert (await push_one(store)).stored


async def test_so_it_does_after_a_purge(store: FullStore) -> None:
    first = unique()
    await push_one(store, first)
    assert await store.purge(QUEUE, State.READY) == 1
    assert await push_one(store, Message(first.id, QUEUE, b"anew")) == Receipt(first.id)
    assert (await push_one(store)).stored
    await store.prune(100)
    assert not (await push_one(store)).stored


async def test_a_tick_whose_key_is_held_is_recorded_and_skipped(store: FullStore) -> None:
    first, second = unique(), unique()
    assert await store.push_tick("nightly", 1.0, first) is Ticked.FIRED
    assert await store.push_tick("nightly", 2.0, second) is Ticked.SKIPPED
    assert (await store.ticks(["nightly"])).last == {"nightly": 2.0}
    assert ids(await take(store)) == [first.id]


async def test_of_many_who_push_one_key_one_is_stored(engine: Engine, store: FullStore) -> None:
    others = [await engine.opened() for _ in range(2)]
    receipts = await asyncio.gather(*(push_one(each) for each in [store, *others] * 5))
    [stored] = [receipt for receipt in receipts if receipt.stored]
    assert {receipt.holder for receipt in receipts if not receipt.stored} == {stored.id}
    assert (await stats(store)).ready == 1


async def test_a_synchronous_push_knows_keys_too(engine: Engine, store: FullStore) -> None:
    first, second = unique(), unique()
    receipts = await engine.in_thread(lambda: store.push_sync([first, second]))
    assert receipts == [Receipt(first.id), Receipt(second.id, False, first.id)]


@pytest.mark.parametrize("queue", ODD_NAMES)
async def test_odd_queues_have_keys_of_their_own(store: FullStore, queue: str) -> None:
    assert (await push_one(store, unique(queue))).stored
    assert not (await push_one(store, unique(queue))).stored
    assert (await push_one(store)).stored
