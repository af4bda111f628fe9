"""Debounced messages that lead: the first of a key does not wait, later ones become one more."""

import pytest

from tests.store.engines import Engine
from tests.store.helpers import DONE, QUEUE, ids, now, record, settle, take, take_one
from tests.store.test_contract_debounce import KEY, about, debounced, push_one
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.outcome import Release, Retry
from vtasks_asgi.store.base import FullStore, Receipt, State


def leading(body: bytes = b"body", longest: float | None = None, *, wait: float = 5.0) -> Message:
    message = debounced(body, wait, longest)
    message.keep_unique = wait
    return message


async def test_the_first_does_not_wait(store: FullStore) -> None:
    first = leading(b"one")
    assert await push_one(store, first) == Receipt(first.id)
    found = await record(store, first.id)
    assert (found.state, found.run_at) == (State.READY, None)
    assert (await take_one(store)).body == b"one"


async def test_later_ones_become_one_that_waits(engine: Engine, store: FullStore) -> None:
    await push_one(store, leading(b"one"))
    await settle(store, await take_one(store))
    await engine.advance(4.0)
    second, third = leading(b"two"), leading(b"three")
    assert await push_one(store, second) == Receipt(second.id)
    assert (await record(store, second.id)).run_at == about(engine, await now(store) + 5.0)
    await engine.advance(4.0)  # past the first one's time, within the second's
    assert await push_one(store, third) == Receipt(third.id, False, second.id, merged=True)
    await engine.advance(4.0)
    assert await take(store) == []
    await engine.advance(1.5)
    claim = await take_one(store)
    assert (claim.id, claim.body) == (second.id, b"three")


async def test_while_the_first_runs_too(engine: Engine, store: FullStore) -> None:
    await push_one(store, leading(b"one"))
    claim = await take_one(store)
    await engine.advance(20.0)  # long past its time
    second = leading(b"two")
    assert await push_one(store, second) == Receipt(second.id)
    await settle(store, claim)
    assert await take(store) == []
    assert (await push_one(store, leading(b"three"))).holder == second.id
    await engine.advance(5.5)
    assert (await take_one(store)).body == b"three"


async def test_one_that_has_not_begun_takes_the_body_and_still_does_not_wait(
    engine: Engine, store: FullStore
) -> None:
    first, second = leading(b"one"), leading(b"two")
    await push_one(store, first)
    await engine.advance(3.0)
    assert await push_one(store, second) == Receipt(second.id, False, first.id, merged=True)
    found = await record(store, first.id)
    assert (found.state, found.run_at, found.body) == (State.READY, None, b"two")
    claim = await take_one(store)
    assert (claim.id, claim.body) == (first.id, b"two")


async def test_no_longer_than_the_longest(engine: Engine, store: FullStore) -> None:
    await push_one(store, leading(b"one", 7.0))
    await settle(store, await take_one(store))
    await push_one(store, leading(b"two", 7.0))
    await engine.advance(4.0)
    await push_one(store, leading(b"three", 7.0))
    await engine.advance(3.5)
    assert (await take_one(store)).body == b"three"


@pytest.mark.parametrize("waited", [False, True])
async def test_after_the_time_the_next_is_the_first_again(
    engine: Engine, store: FullStore, waited: bool
) -> None:
    await push_one(store, leading(b"one"))
    await settle(store, await take_one(store))
    if waited:
        await push_one(store, leading(b"two"))
    await engine.advance(5.5)
    if waited:
        await settle(store, await take_one(store))
    last = leading(b"last")
    assert await push_one(store, last) == Receipt(last.id)
    assert (await take_one(store)).body == b"last"


async def test_of_one_bulk_the_last_wins_and_does_not_wait(
    engine: Engine, store: FullStore
) -> None:
    one, two, three = leading(b"one"), leading(b"two"), leading(b"three")
    assert await store.push([one, two, three]) == [
        Receipt(one.id),
        Receipt(two.id, False, one.id, merged=True),
        Receipt(three.id, False, one.id, merged=True),
    ]
    claim = await take_one(store)
    assert (claim.id, claim.body) == (one.id, b"three")
    again = [leading(b"four"), leading(b"five")]
    receipts = await store.push(again)
    assert [receipt.merged for receipt in receipts] == [False, True]
    assert await take(store) == []
    await engine.advance(5.5)
    assert (await take_one(store)).body == b"five"


async def test_one_that_follows_in_the_bulk_and_does_not_lead_makes_it_wait(
    engine: Engine, store: FullStore
) -> None:
    await store.push([leading(b"one"), debounced(b"two"), leading(b"three")])
    assert await take(store) == []
    await engine.advance(5.5)
    assert (await take_one(store)).body == b"three"


async def test_and_one_that_waits_by_a_bulk_of_both_kinds(engine: Engine, store: FullStore) -> None:
    first = leading(b"one")
    await push_one(store, first)
    await store.push([debounced(b"two"), leading(b"three")])
    assert (await record(store, first.id)).run_at == about(engine, await now(store) + 5.0)
    assert await take(store) == []
    await engine.advance(5.5)
    assert (await take_one(store)).body == b"three"


async def test_one_that_was_given_back_or_is_to_be_tried_again(
    engine: Engine, store: FullStore
) -> None:
    first = leading(b"one")
    await push_one(store, first)
    await settle(store, await take_one(store), Release())
    assert (await push_one(store, leading(b"two"))).merged, "it has not begun"
    await engine.advance(5.5)
    await settle(store, await take_one(store), Retry(b"", 60.0))
    second = leading(b"three")
    assert await push_one(store, second) == Receipt(second.id)
    await engine.advance(5.5)
    assert ids(await take(store)) == [second.id]


async def test_a_known_id_changes_nothing(store: FullStore) -> None:
    first, second = leading(b"one"), leading(b"two")
    await push_one(store, first)
    await push_one(store, second)
    assert await push_one(store, first) == Receipt(first.id, False)
    assert (await take_one(store)).body == b"two"


async def test_a_plain_one_is_refused_for_its_time(engine: Engine, store: FullStore) -> None:
    first, plain = leading(), Message(new_id(), QUEUE, b"plain", unique=KEY)
    await push_one(store, first)
    await settle(store, await take_one(store), DONE)
    assert await push_one(store, plain) == Receipt(plain.id, False, first.id)
    await engine.advance(5.5)
    assert await push_one(store, plain) == Receipt(plain.id)


async def test_a_synchronous_push_does_the_same(engine: Engine, store: FullStore) -> None:
    one, two = leading(b"one"), leading(b"two")
    receipts = await engine.in_thread(lambda: store.push_sync([one, two]))
    assert receipts == [Receipt(one.id), Receipt(two.id, False, one.id, merged=True)]
    assert (await take_one(store)).body == b"two"
