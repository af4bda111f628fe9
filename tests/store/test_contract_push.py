"""Pushing: one receipt each, in order, and an id is stored once whatever has become of it."""

import pytest

from tests.store.engines import Engine
from tests.store.helpers import (
    DEAD,
    QUEUE,
    ids,
    message,
    now,
    push,
    record,
    settle,
    stats,
    take,
    take_one,
)
from vtasks_asgi.core.message import MAX_PRIORITY, MIN_PRIORITY, Message, new_id
from vtasks_asgi.core.outcome import Done, Retry
from vtasks_asgi.store.base import FullStore, Receipt, State


async def test_receipts_come_in_the_order_of_the_messages(store: FullStore) -> None:
    messages = [message(priority=priority) for priority in (0, 5, -5, 1)]
    assert await store.push(messages) == [Receipt(each.id, True) for each in messages]


async def test_a_pushed_message_is_there_as_it_was_given(engine: Engine, store: FullStore) -> None:
    at = await now(store) + 60
    plain = Message(new_id(), "mail", b"plain", priority=MIN_PRIORITY)
    late = Message(new_id(), "mail", b"late", priority=MAX_PRIORITY, run_at=at)
    await store.push([plain, late])
    found = await record(store, plain.id)
    assert (found.id, found.queue, found.state) == (plain.id, "mail", State.READY)
    assert (found.body, found.priority) == (b"plain", MIN_PRIORITY)
    assert (found.attempt, found.crashes, found.history) == (0, 0, None)
    assert (found.worker, found.started_at, found.finished_at) == (None, None, None)
    assert (found.value, found.reason) == (None, None)
    found = await record(store, late.id)
    assert (found.state, found.body, found.priority) == (State.DELAYED, b"late", MAX_PRIORITY)
    assert found.run_at == pytest.approx(at, abs=engine.tolerance)


async def test_a_start_in_the_past_is_ready_at_once(store: FullStore) -> None:
    [old] = await push(store, run_at=await now(store) - 3600)
    [older] = await push(store, run_at=1.0)
    assert (await record(store, old)).state is State.READY
    assert ids(await take(store)) == [old, older]


async def test_pushing_again_stores_nothing_and_says_so(store: FullStore) -> None:
    first = message(body=b"first")
    again = Message(first.id, QUEUE, b"second", priority=50)
    fresh = message()
    await store.push([first])
    assert await store.push([again, fresh]) == [Receipt(first.id, False), Receipt(fresh.id, True)]
    found = await record(store, first.id)
    assert (found.queue, found.body, found.priority) == (QUEUE, b"first", 0)
    assert ids(await take(store)) == [first.id, fresh.id]


async def test_the_same_id_twice_in_one_call(store: FullStore) -> None:
    one, two = message(body=b"one"), message(body=b"two")
    receipts = await store.push([one, two, Message(one.id, QUEUE, b"again")])
    assert [receipt.stored for receipt in receipts] == [True, True, False]
    assert [claim.body for claim in await take(store)] == [b"one", b"two"]


@pytest.mark.parametrize("state", ["running", "retrying", "dead", "done"])
async def test_an_id_is_known_whatever_its_state(store: FullStore, state: str) -> None:
    pushed = message()
    await store.push([pushed])
    claim = await take_one(store)
    if state == "retrying":
        await settle(store, claim, Retry(b"h", 60.0))
    elif state == "dead":
        await settle(store, claim, DEAD)
    elif state == "done":
        await settle(store, claim, Done(b"h", ttl=60.0))
    before = await record(store, pushed.id)
    assert await store.push([pushed]) == [Receipt(pushed.id, False)]
    assert await record(store, pushed.id) == before
    assert await take(store) == []


async def test_an_id_of_which_nothing_is_kept_may_come_again(store: FullStore) -> None:
    pushed = message()
    await store.push([pushed])
    await settle(store, await take_one(store))
    assert await store.push([pushed]) == [Receipt(pushed.id, True)]
    assert (await take_one(store)).attempt == 1


async def test_push_sync_is_push_from_any_thread(engine: Engine, store: FullStore) -> None:
    first, second = message(), message(run_at=await now(store) + 60)
    receipts = await engine.in_thread(lambda: store.push_sync([first, second, first]))
    assert [(receipt.id, receipt.stored) for receipt in receipts] == [
        (first.id, True),
        (second.id, True),
        (first.id, False),
    ]
    counted = await stats(store)
    assert (counted.ready, counted.delayed) == (1, 1)
    assert ids(await take(store)) == [first.id]


async def test_one_call_may_fill_several_queues(store: FullStore) -> None:
    messages = [message(f"queue {n % 3}", body=str(n).encode()) for n in range(9)]
    receipts = await store.push(messages)
    assert [receipt.id for receipt in receipts] == [each.id for each in messages]
    for n in range(3):
        claims = await take(store, queue=f"queue {n}")
        assert [claim.body for claim in claims] == [str(m).encode() for m in range(n, 9, 3)]
