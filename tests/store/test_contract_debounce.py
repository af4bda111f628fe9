"""Debouncing: a message that waits takes the body of later ones of its key; none is refused."""

import asyncio
from typing import Any

import pytest

from tests.store.engines import Engine
from tests.store.helpers import (
    DEAD,
    DONE,
    QUEUE,
    ids,
    now,
    record,
    settle,
    stats,
    take,
    take_one,
)
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.outcome import Outcome, Release, Retry
from vtasks_asgi.store.base import FullStore, Receipt, State

KEY = "k" * 64


def debounced(
    body: bytes = b"body",
    wait: float = 5.0,
    longest: float | None = None,
    *,
    queue: str = QUEUE,
    key: str = KEY,
    priority: int = 0,
) -> Message:
    message = Message(new_id(), queue, body, priority, unique=key)
    message.debounce, message.debounce_max = wait, longest
    return message


async def push_one(store: FullStore, message: Message) -> Receipt:
    [receipt] = await store.push([message])
    return receipt


def about(engine: Engine, seconds: float) -> Any:
    return pytest.approx(seconds, abs=max(engine.tolerance, 1e-3))


async def test_the_first_waits_its_time(engine: Engine, store: FullStore) -> None:
    first = debounced(wait=5.0)
    assert await push_one(store, first) == Receipt(first.id)
    claimed = await store.claim(QUEUE, 5, worker="w", lease=30.0)
    assert claimed.claims == []
    assert claimed.next_due == about(engine, 5.0)
    assert (await record(store, first.id)).state is State.DELAYED
    await engine.advance(5.5)
    assert ids(await take(store)) == [first.id]


async def test_the_latest_body_wins_and_the_wait_begins_anew(
    engine: Engine, store: FullStore
) -> None:
    first = debounced(b"one", priority=3)
    await push_one(store, first)
    for body in (b"two", b"three"):
        await engine.advance(4.0)
        later = debounced(body, priority=9)
        assert await push_one(store, later) == Receipt(later.id, False, first.id, merged=True)
        assert await store.lookup([later.id]) == {}
    await engine.advance(4.0)
    assert await take(store) == []
    await engine.advance(1.5)
    claim = await take_one(store)
    assert (claim.id, claim.body, claim.priority, claim.attempt) == (first.id, b"three", 3, 1)
    assert claim.unique == KEY


async def test_no_longer_than_the_longest(engine: Engine, store: FullStore) -> None:
    first = debounced(b"0", 5.0, 12.0)
    await push_one(store, first)
    for seconds in (4, 8, 11):
        await engine.advance(4.0 if seconds < 11 else 3.0)
        await push_one(store, debounced(str(seconds).encode(), 5.0, 12.0))
    waiting = await record(store, first.id)
    assert waiting.run_at == about(engine, await now(store) + 1.0)
    await engine.advance(1.5)
    assert (await take_one(store)).body == b"11"


async def test_one_that_is_late_already_takes_the_body_and_is_due_at_once(
    engine: Engine, store: FullStore
) -> None:
    first = debounced(b"one", 5.0, 12.0)
    await push_one(store, first)
    await engine.advance(100.0)
    assert (await push_one(store, debounced(b"two", 5.0, 12.0))).merged
    assert (await record(store, first.id)).state is State.DELAYED
    assert (await stats(store)).ready == 1
    assert (await take_one(store)).body == b"two"


async def test_without_a_longest_one_that_is_ready_waits_again(
    engine: Engine, store: FullStore
) -> None:
    first, plain = debounced(b"one"), Message(new_id(), QUEUE, b"plain")
    await push_one(store, first)
    await engine.advance(5.5)
    await push_one(store, plain)
    assert ids(await take(store, 1)) == [first.id]  # promoted by this claim, and taken
    await engine.advance(1.0)
    second = debounced(b"two")
    assert await push_one(store, second) == Receipt(second.id)
    await engine.advance(5.5)
    await store.claim(QUEUE, 0, worker="w", lease=30.0)  # promotes, takes nothing
    assert (await record(store, second.id)).state is State.READY
    assert (await push_one(store, debounced(b"three"))).merged
    assert (await record(store, second.id)).state is State.DELAYED
    assert ids(await take(store)) == [plain.id]
    await engine.advance(5.5)
    assert (await take_one(store)).body == b"three"


async def test_one_that_runs_is_left_alone_and_another_one_stored(
    engine: Engine, store: FullStore
) -> None:
    first, second, third = debounced(b"one"), debounced(b"two"), debounced(b"three")
    await push_one(store, first)
    await engine.advance(5.5)
    claim = await take_one(store)
    assert await push_one(store, second) == Receipt(second.id)
    assert await push_one(store, third) == Receipt(third.id, False, second.id, merged=True)
    await settle(store, claim)  # its end does not free the key, which is the second's by now
    assert (await push_one(store, debounced(b"four"))).holder == second.id
    await engine.advance(5.5)
    assert (await take_one(store)).body == b"four"


async def test_one_that_is_to_be_tried_again_is_left_alone(
    engine: Engine, store: FullStore
) -> None:
    first, second = debounced(b"one"), debounced(b"two")
    await push_one(store, first)
    await engine.advance(5.5)
    await settle(store, await take_one(store), Retry(b"", 60.0))
    assert await push_one(store, second) == Receipt(second.id)
    assert (await record(store, first.id)).body == b"one"
    await engine.advance(61.0)
    assert {claim.body for claim in await take(store)} == {b"one", b"two"}


async def test_one_that_was_given_back_has_not_begun(engine: Engine, store: FullStore) -> None:
    first = debounced(b"one")
    await push_one(store, first)
    await engine.advance(5.5)
    await settle(store, await take_one(store), Release())
    assert (await push_one(store, debounced(b"two"))).merged
    assert await take(store) == []
    await engine.advance(5.5)
    assert (await take_one(store)).body == b"two"


@pytest.mark.parametrize("outcome", [DONE, DEAD])
async def test_after_the_end_it_begins_anew(
    engine: Engine, store: FullStore, outcome: Outcome
) -> None:
    await push_one(store, debounced())
    await engine.advance(5.5)
    await settle(store, await take_one(store), outcome)
    second = debounced()
    assert await push_one(store, second) == Receipt(second.id)
    assert await take(store) == []


async def test_a_known_id_changes_nothing(engine: Engine, store: FullStore) -> None:
    first, second = debounced(b"one"), debounced(b"two")
    await push_one(store, first)
    await push_one(store, second)
    await engine.advance(2.0)
    assert await push_one(store, first) == Receipt(first.id, False)
    await engine.advance(3.5)
    claim = await take_one(store)
    assert claim.body == b"two"
    third = debounced(b"three")
    await push_one(store, third)
    assert await push_one(store, first) == Receipt(first.id, False), "though another has its key"
    assert (await record(store, third.id)).body == b"three"


async def test_of_one_bulk_the_last_wins(engine: Engine, store: FullStore) -> None:
    one, two, other = debounced(b"one"), debounced(b"two"), debounced(b"other", key="other")
    assert await store.push([one, other, two]) == [
        Receipt(one.id),
        Receipt(other.id),
        Receipt(two.id, False, one.id, merged=True),
    ]
    await engine.advance(5.5)
    assert [claim.body for claim in await take(store)] == [b"two", b"other"]


async def test_a_queue_has_keys_of_its_own(store: FullStore) -> None:
    one, two = debounced(queue="one"), debounced(queue="two")
    assert await store.push([one, two]) == [Receipt(one.id), Receipt(two.id)]


async def test_a_message_that_does_not_wait_is_refused_while_one_of_its_key_does(
    store: FullStore,
) -> None:
    first, plain = debounced(b"one"), Message(new_id(), QUEUE, b"plain", unique=KEY)
    await push_one(store, first)
    assert await push_one(store, plain) == Receipt(plain.id, False, first.id)
    assert (await record(store, first.id)).body == b"one"


async def test_one_that_waits_for_nothing_is_made_to_wait(engine: Engine, store: FullStore) -> None:
    plain, second = Message(new_id(), QUEUE, b"plain", unique=KEY), debounced(b"two", 5.0, 12.0)
    await push_one(store, plain)
    assert await push_one(store, second) == Receipt(second.id, False, plain.id, merged=True)
    assert await take(store) == []
    await engine.advance(5.5)
    assert (await take_one(store)).body == b"two"


async def test_one_that_is_due_earlier_by_it_ends_the_wait(store: FullStore) -> None:
    later = Message(new_id(), QUEUE, b"later", 0, await now(store) + 3600.0, KEY)
    await push_one(store, later)
    await take(store)
    waiting = asyncio.create_task(store.wait([QUEUE], 300.0))
    await asyncio.sleep(0)
    assert (await push_one(store, debounced())).merged
    await asyncio.wait_for(waiting, 15.0)
    claimed = await store.claim(QUEUE, 5, worker="w", lease=30.0)
    assert claimed.next_due is not None
    assert claimed.next_due <= 5.5


async def test_a_key_kept_after_the_end_does_not_refuse_it(store: FullStore) -> None:
    throttled = Message(new_id(), QUEUE, b"", unique=KEY, keep_unique=60.0)
    await push_one(store, throttled)
    await settle(store, await take_one(store))
    second = debounced()
    assert await push_one(store, second) == Receipt(second.id)
    assert (await push_one(store, debounced())).holder == second.id


async def test_nor_does_one_cancelled_before_it_began(store: FullStore) -> None:
    cancelled = Message(new_id(), QUEUE, b"", unique=KEY, keep_unique=60.0)
    await push_one(store, cancelled)
    await store.cancel([cancelled.id])
    second = debounced()
    assert await push_one(store, second) == Receipt(second.id)


async def test_a_purged_one_is_forgotten(store: FullStore) -> None:
    await push_one(store, debounced())
    assert await store.purge(QUEUE, State.DELAYED) == 1
    assert (await push_one(store, debounced())).stored


async def test_a_synchronous_push_does_the_same(engine: Engine, store: FullStore) -> None:
    one, two = debounced(b"one"), debounced(b"two")
    receipts = await engine.in_thread(lambda: store.push_sync([one, two]))
    assert receipts == [Receipt(one.id), Receipt(two.id, False, one.id, merged=True)]
    assert (await record(store, one.id)).body == b"two"


async def test_of_many_who_push_at_once_one_is_stored(engine: Engine, store: FullStore) -> None:
    others = [await engine.opened() for _ in range(2)]
    pushes = (push_one(each, debounced(str(n).encode())) for n in range(5) for each in others)
    receipts = await asyncio.gather(*pushes)
    [stored] = [receipt for receipt in receipts if receipt.stored]
    assert {r.holder for r in receipts if not r.stored} == {stored.id}
    assert all(r.merged for r in receipts if not r.stored)
    assert (await stats(store)).delayed == 1
