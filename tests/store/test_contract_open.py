"""Opening, closing, and the limits of what may be asked: nothing, odd names, any bytes, many."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from tests.store.engines import Engine
from tests.store.helpers import (
    DEAD,
    DONE,
    LEASE,
    ODD_NAMES,
    QUEUE,
    browse_all,
    bury,
    ids,
    message,
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
from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.outcome import Done, Retry
from vtasks_asgi.store.base import FullStore, Settlement, State
from vtasks_asgi.store.groups import Mark, Member, NewGroup

ASYNC_VERBS: dict[str, Callable[[FullStore], Awaitable[object]]] = {
    "push": lambda store: store.push([message()]),
    "ticks": lambda store: store.ticks(["nightly"]),
    "push_tick": lambda store: store.push_tick("nightly", 1.0, None),
    "claim": lambda store: store.claim(QUEUE, 1, worker="w", lease=LEASE),
    "settle": lambda store: store.settle([]),
    "reclaim": lambda store: store.reclaim(QUEUE, 1, worker="w", lease=LEASE),
    "wait": lambda store: store.wait([QUEUE], 0.01),
    "stats": lambda store: store.stats([QUEUE]),
    "lookup": lambda store: store.lookup(["x"]),
    "browse": lambda store: store.browse(QUEUE, State.READY, limit=1),
    "requeue": lambda store: store.requeue(["x"]),
    "purge": lambda store: store.purge(QUEUE, State.READY),
    "prune": lambda store: store.prune(1),
    "cancel": lambda store: store.cancel(["x"]),
    "pause": lambda store: store.pause(QUEUE),
    "resume": lambda store: store.resume(QUEUE),
    "pause_task": lambda store: store.pause_task("a.task"),
    "resume_task": lambda store: store.resume_task("a.task"),
    "paused": lambda store: store.paused(),
    "paused_tasks": lambda store: store.paused_tasks(),
    "open_group": lambda store: store.open_group(NewGroup("x"), []),
    "mark_members": lambda store: store.mark_members([Mark("x", "y", Member.FAILED)]),
    "close_groups": lambda store: store.close_groups(["x"]),
    "find_group": lambda store: store.find_group("x"),
    "sweep_groups": lambda store: store.sweep_groups(1, patience=60.0),
}


async def refusing(store: FullStore) -> list[str]:
    """The verbs that answer StoreUnavailable; any other error is the test's."""
    refused = []
    for name, verb in ASYNC_VERBS.items():
        try:
            await verb(store)
        except StoreUnavailable:
            refused.append(name)
    return refused


async def test_verbs_on_a_store_never_opened(engine: Engine) -> None:
    assert await refusing(engine.make()) == list(ASYNC_VERBS)


async def test_verbs_on_a_store_that_was_closed(store: FullStore) -> None:
    assert await refusing(store) == []
    await store.aclose()
    assert await refusing(store) == list(ASYNC_VERBS)


async def test_blocking_verbs_on_a_store_that_is_not_open(engine: Engine, store: FullStore) -> None:
    claim = await pushed_and_taken(store)
    for closed in (engine.make(), store):
        await closed.aclose()
        with pytest.raises(StoreUnavailable):
            await engine.in_thread(partial(closed.extend, [claim], lease=LEASE))
        with pytest.raises(StoreUnavailable):
            await engine.in_thread(partial(closed.cancelled, [claim]))


async def test_sync_verbs_unopened_work_or_say_unavailable(
    engine: Engine, store: FullStore
) -> None:
    unopened, pushed = engine.make(), message()
    try:
        receipts = await engine.in_thread(lambda: unopened.push_sync([pushed]))
    except StoreUnavailable:
        assert await store.lookup([pushed.id]) == {}
        with pytest.raises(StoreUnavailable):
            await engine.in_thread(lambda: unopened.lookup_sync([pushed.id]))
    else:
        assert [receipt.id for receipt in receipts] == [pushed.id]
        found = await engine.in_thread(lambda: unopened.lookup_sync([pushed.id]))
        assert found == await store.lookup([pushed.id])


async def test_closing_is_legal_unopened_and_twice(engine: Engine) -> None:
    store = engine.make()
    await store.aclose()
    await store.open()
    await store.aclose()
    await store.aclose()


async def test_opening_again_finds_everything_still_there(store: FullStore) -> None:
    [first] = await push(store)
    await store.open()
    assert ids(await take(store)) == [first]
    await store.aclose()
    await store.open()
    assert (await record(store, first)).state is State.RUNNING
    [second] = await push(store)
    assert ids(await take(store)) == [second]


async def test_two_stores_on_the_same_data_see_the_same(engine: Engine, store: FullStore) -> None:
    other = await engine.opened()
    pushed = await push(store)
    claim = await take_one(other)
    assert [claim.id] == pushed
    assert (await settle(store, claim, Done(b"h", ttl=60.0))).lost == []
    assert (await record(other, claim.id)).state is State.DONE


async def test_nothing_at_all_is_legal_everywhere(engine: Engine, store: FullStore) -> None:
    assert await store.push([]) == []
    assert await engine.in_thread(lambda: store.push_sync([])) == []
    assert (await store.ticks([])).last == {}
    assert await engine.in_thread(lambda: store.extend([], lease=LEASE)) == []
    settled = await store.settle([])
    assert (settled.lost, settled.evicted) == ([], {})
    assert await store.stats([]) == {}
    assert await store.lookup([]) == {}
    assert await engine.in_thread(lambda: store.lookup_sync([])) == {}
    assert await store.requeue([]) == 0
    await store.wait([], 0.01)


async def test_a_limit_below_one_takes_nothing(engine: Engine, store: FullStore) -> None:
    none = (0, -1, -1000)
    await push(store, 3)
    for limit in none:
        claimed = await store.claim(QUEUE, limit, worker="w", lease=LEASE)
        assert (claimed.claims, claimed.next_due) == ([], None)
        with pytest.raises(ValueError, match="limit"):
            await store.browse(QUEUE, State.READY, limit=limit)
    await take(store)
    await engine.advance(LEASE + 1)
    assert [await reclaim(store, limit) for limit in none] == [[], [], []]
    for claim in await reclaim(store):
        await settle(store, claim, Done(b"h", ttl=5.0))
    await engine.advance(6.0)
    assert [await store.prune(limit) for limit in none] == [0, 0, 0]
    assert await store.prune(10) == 3


async def test_a_limit_of_zero_still_tells_what_is_due(engine: Engine, store: FullStore) -> None:
    await push(store, run_at=await now(store) + 60)
    claimed = await store.claim(QUEUE, 0, worker="w", lease=LEASE)
    assert claimed.next_due == pytest.approx(60, abs=engine.tolerance)


async def test_odd_names_of_queues_workers_and_schedules(engine: Engine, store: FullStore) -> None:
    await push(store, 1, "other")
    for name in ODD_NAMES:
        await use_the_name(engine, store, name)
    assert (await stats(store, "other")).ready == 1
    assert (await store.ticks(ODD_NAMES)).last == dict.fromkeys(ODD_NAMES, 7.0)


async def use_the_name(engine: Engine, store: FullStore, name: str) -> None:
    [delayed] = await push(store, 1, name, run_at=await now(store) + 5)
    assert await store.push_tick(name, 7.0, message(name))
    assert (await store.ticks([name, "other"])).last == {name: 7.0}
    await engine.advance(6.0)
    claims = await take(store, 10, name, worker=name)
    assert [claim.queue for claim in claims] == [name, name]
    assert delayed in ids(claims)
    assert (await record(store, delayed)).worker == name
    await engine.advance(LEASE + 1)
    claims = await reclaim(store, 10, name, worker=name)
    assert [claim.lost_worker for claim in claims] == [name, name]
    await settle(store, claims[0], DEAD)
    await settle(store, claims[1], Done(b"h", ttl=60.0))
    assert (await stats(store, name)).dead == 1
    [dead], cursor = await store.browse(name, State.DEAD, limit=5)
    assert (dead.queue, cursor) == (name, None)
    assert await store.requeue([dead.id]) == 1
    assert await store.purge(name, State.READY) == 1
    assert (await stats(store, name)).ready == 0


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"a\x00b\x00", bytes(range(256)), b"\xff\xfe", b"'\";--%s\\", b"x" * 2**20],
    ids=["empty", "nul", "nuls", "every byte", "not utf-8", "quoting", "a mebibyte"],
)
async def test_bodies_histories_and_values_are_any_bytes(store: FullStore, data: bytes) -> None:
    await push(store, 2, body=data)
    first, second = await take(store)
    assert type(first.body) is bytes
    assert first.body == data
    await settle(store, first, Retry(data, 0.0))
    again = await take_one(store)
    assert type(again.history) is bytes
    assert again.history == data
    await settle(store, again, Done(data, data, ttl=60.0))
    done = await record(store, again.id)
    assert (done.body, done.history, done.value) == (data, data, data)
    assert {type(done.body), type(done.history), type(done.value)} == {bytes}
    await settle(store, second, DEAD)
    assert (await record(store, second.id)).body == data


async def test_a_thousand_messages_in_every_call(engine: Engine, store: FullStore) -> None:
    messages = [message(body=str(n).encode()) for n in range(1000)]
    receipts = await store.push(messages)
    pushed = [each.id for each in messages]
    assert [(receipt.id, receipt.stored) for receipt in receipts] == [(id, True) for id in pushed]
    assert len(await store.lookup(pushed)) == 1000
    claims = await take(store, 1000)
    assert ids(claims) == pushed
    assert await engine.in_thread(lambda: store.extend(claims, lease=LEASE)) == []
    await engine.advance(LEASE + 1)
    claims = await reclaim(store, 1000)
    assert sorted(ids(claims)) == sorted(pushed)
    assert (await store.settle([Settlement(claim, DEAD) for claim in claims])).lost == []
    assert ids(await browse_all(store, State.DEAD, page=1000)) == ids(claims)
    assert await store.requeue(pushed) == 1000
    claims = await take(store, 1000)
    settled = await store.settle([Settlement(claim, DONE) for claim in claims])
    assert (settled.lost, settled.evicted) == ([], {})
    assert await store.lookup(pushed) == {}


async def test_what_is_asked_of_one_queue_leaves_others_alone(
    engine: Engine, store: FullStore
) -> None:
    [other] = await push(store, 1, "other", priority=100)
    [held] = ids([await pushed_and_taken(store, "held")])
    await bury(store, 1, "dead")
    await push(store)
    assert len(await take(store)) == 1
    await engine.advance(LEASE + 1)
    assert held not in ids(await reclaim(store))
    await store.purge(QUEUE, State.DEAD)
    await store.purge(QUEUE, State.READY)
    assert (await stats(store, "dead")).dead == 1
    assert ids(await take(store, queue="other")) == [other]
