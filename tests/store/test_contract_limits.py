"""Concurrency limits: so many of a key run, the others wait and cost nothing."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from itertools import cycle

import pytest

from tests.store.engines import Engine
from tests.store.helpers import (
    DEAD,
    DONE,
    LEASE,
    QUEUE,
    browse_all,
    bury,
    ids,
    message,
    now,
    push,
    reclaim,
    record,
    settle,
    stats,
    take,
    take_one,
)
from tests.store.test_contract_concurrency import in_threads
from vtasks_asgi.core.limits import Limit
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.outcome import Done, Outcome, Release, Retry
from vtasks_asgi.store.base import Claim, Claimed, FullStore, Settlement, State
from vtasks_asgi.store.control import Cancel

ONE, TWO = Limit("key", 1), Limit("key", 2)


@pytest.fixture(autouse=True)
def knows_limits(engine_kind: type[Engine]) -> None:
    if not engine_kind.limits:
        pytest.skip("this engine does not know limits yet")


def limited(limit: Limit, count: int, queue: str = QUEUE, *, priority: int = 0) -> list[Message]:
    messages = [message(queue, priority=priority) for _ in range(count)]
    for each in messages:
        each.limit = limit
    return messages


async def push_limited(
    store: FullStore, limit: Limit, count: int = 1, queue: str = QUEUE, *, priority: int = 0
) -> list[str]:
    messages = limited(limit, count, queue, priority=priority)
    await store.push(messages)
    return [each.id for each in messages]


async def claim(store: FullStore, limit: int = 1000) -> Claimed:
    return await store.claim(QUEUE, limit, worker="w", lease=LEASE)


async def states(store: FullStore, some: Sequence[str]) -> list[State]:
    found = await store.lookup(some)
    return [found[id].state for id in some]


async def test_so_many_of_a_key_run_and_the_others_wait(store: FullStore) -> None:
    pushed = await push_limited(store, TWO, 5)
    claimed = await claim(store)
    assert ids(claimed.claims) == pushed[:2]
    assert [each.limit for each in claimed.claims] == [TWO, TWO]
    assert claimed.next_due == 0.0  # for there may be others behind them
    for id in pushed[2:]:
        found = await record(store, id)
        assert (found.state, found.attempt, found.run_at) == (State.DELAYED, 0, None)
    claimed = await claim(store)
    assert (claimed.claims, claimed.next_due) == ([], None)
    counted = await stats(store)
    assert (counted.ready, counted.delayed, counted.running) == (0, 3, 2)


@pytest.mark.parametrize("outcome", [DONE, Done(b"h", b"value", 60.0), DEAD, Retry(b"h", 60.0)])
async def test_every_end_of_a_run_lets_the_next_one_start(
    store: FullStore, outcome: Outcome
) -> None:
    first, second, third = await push_limited(store, ONE, 3)
    held = await take_one(store)
    assert held.id == first
    assert await take(store) == []
    await settle(store, held, outcome)
    assert await states(store, [second, third]) == [State.READY, State.DELAYED]
    again = await take_one(store)
    assert (again.id, again.attempt) == (second, 1)
    assert await take(store) == []


@pytest.mark.parametrize("outcome", [Retry(b"h", 0.0), Release()])
async def test_what_is_put_back_at_once_goes_first(store: FullStore, outcome: Outcome) -> None:
    first, second = await push_limited(store, ONE, 2)
    held = await take_one(store)
    assert await take(store) == []
    await settle(store, held, outcome)
    assert await states(store, [first, second]) == [State.READY, State.DELAYED]
    held = await take_one(store)
    assert held.id == first
    await settle(store, held)
    assert ids(await take(store)) == [second]


async def test_a_retry_that_comes_due_waits_for_its_turn(engine: Engine, store: FullStore) -> None:
    first, second, third = await push_limited(store, ONE, 3)
    held = await take_one(store)
    assert await take(store) == []
    await settle(store, held, Retry(b"h", 5.0))
    held = await take_one(store)
    assert held.id == second
    await engine.advance(6.0)
    assert await take(store) == []
    found = await record(store, first)
    assert (found.state, found.attempt, found.run_at) == (State.DELAYED, 1, None)
    await settle(store, held)
    held = await take_one(store)  # it was pushed before the third
    assert (held.id, held.attempt, held.history) == (first, 2, b"h")
    await settle(store, held)
    assert ids(await take(store)) == [third]


async def test_several_that_end_at_once_free_as_many_slots(store: FullStore) -> None:
    three = Limit("key", 3)
    pushed = await push_limited(store, three, 8)
    claims = await take(store)
    await store.settle([Settlement(each, DONE) for each in claims[:2]])
    assert ids(await take(store)) == pushed[3:5]
    assert await take(store) == []


async def test_a_lost_settlement_frees_nothing(engine: Engine, store: FullStore) -> None:
    _, second = await push_limited(store, ONE, 2)
    late = await take_one(store)
    assert await take(store) == []
    await engine.advance(LEASE + 1)
    [taken_over] = await reclaim(store)
    assert taken_over.limit == ONE
    assert ids((await settle(store, late)).lost) == [late.id]
    assert await take(store) == []  # the crash keeps the slot until the rescuer has settled
    await settle(store, taken_over)
    assert ids(await take(store)) == [second]


async def test_keys_do_not_know_each_other(store: FullStore) -> None:
    mine = await push_limited(store, Limit("mine", 1), 3)
    yours = await push_limited(store, Limit("yours", 2), 3)
    assert ids(await take(store)) == [mine[0], *yours[:2]]


async def test_queues_do_not_know_each_other(store: FullStore) -> None:
    [here, _] = await push_limited(store, ONE, 2)
    [there, _] = await push_limited(store, ONE, 2, "other")
    assert ids(await take(store)) == [here]
    assert ids(await take(store, queue="other")) == [there]
    assert await take(store, queue="other") == []


async def test_what_has_no_limit_passes_by(store: FullStore) -> None:
    pushed = await push_limited(store, ONE, 30)
    free = await push(store, 3)
    taken: list[str] = []
    for _ in range(3):
        taken += ids((await claim(store, 2)).claims)
    assert taken == [pushed[0], *free]


async def test_a_flood_is_put_aside_in_few_steps(store: FullStore) -> None:
    pushed = await push_limited(store, ONE, 500)
    [free] = await push(store)
    assert ids((await claim(store, 1)).claims) == pushed[:1]
    assert (await claim(store, 1)).next_due == 0.0
    assert ids((await claim(store, 1)).claims) == [free]
    assert (await claim(store, 1)).next_due is None
    counted = await stats(store)
    assert (counted.ready, counted.delayed) == (0, 499)


async def test_those_that_wait_start_by_priority_and_then_in_the_order_of_pushing(
    store: FullStore,
) -> None:
    low = await push_limited(store, ONE, 2, priority=-5)
    middle = await push_limited(store, ONE, 2)
    order = []
    held = await take_one(store)
    assert await take(store) == []
    high = await push_limited(store, ONE, 2, priority=5)
    assert await take(store) == []
    for _ in range(5):
        order.append(held.id)
        await settle(store, held)
        held = await take_one(store)
        assert await take(store) == []
    assert [*order, held.id] == [middle[0], *high, middle[1], *low]


async def test_each_message_brings_its_own_numbers(store: FullStore) -> None:
    narrow = await push_limited(store, ONE, 2)
    wide = await push_limited(store, TWO, 2)
    assert ids(await take(store)) == [narrow[0], wide[0]]
    assert await states(store, [narrow[1], wide[1]]) == [State.DELAYED] * 2


async def test_a_slot_is_free_for_what_comes_later(store: FullStore) -> None:
    first, second = await push_limited(store, TWO, 2)
    held = await take_one(store)
    await settle(store, held)
    assert ids(await take(store)) == [second]
    [third] = await push_limited(store, TWO)
    assert ids(await take(store)) == [third]
    assert held.id == first


async def test_a_delayed_one_is_limited_when_its_time_has_come(
    engine: Engine, store: FullStore
) -> None:
    delayed = message(run_at=await now(store) + 5)
    delayed.limit = ONE
    await store.push([delayed])
    [first] = await push_limited(store, ONE)
    held = await take_one(store)
    assert held.id == first
    await engine.advance(6.0)
    claimed = await claim(store)
    assert (claimed.claims, claimed.next_due) == ([], 0.0)
    assert (await record(store, delayed.id)).run_at is None
    await settle(store, held)
    assert ids(await take(store)) == [delayed.id]


async def test_a_settlement_ends_the_wait(store: FullStore) -> None:
    await push_limited(store, ONE, 2)
    held = await take_one(store)
    await take(store)
    await take(store)
    waiting = asyncio.create_task(store.wait([QUEUE], 20.0))
    await asyncio.sleep(0.05)
    await settle(store, held)
    await asyncio.wait_for(waiting, 10.0)


async def test_operators_see_and_end_what_waits(store: FullStore) -> None:
    first, second, third = await push_limited(store, ONE, 3)
    held = await take_one(store)
    assert await take(store) == []
    assert sorted(ids(await browse_all(store, State.DELAYED))) == sorted([second, third])
    cancellation = await store.cancel([second])
    assert cancellation.outcomes == {second: Cancel.CANCELLED}
    await settle(store, held)
    held = await take_one(store)
    assert held.id == third
    assert await store.requeue([second]) == 1
    assert await take(store) == []  # a dead letter keeps its limit
    assert await store.purge(QUEUE, State.DELAYED) == 1
    await settle(store, held)
    assert await store.lookup([first, second, third]) == {}


async def test_one_that_was_let_go_and_ends_otherwise_does_not_hold_up_the_rest(
    store: FullStore,
) -> None:
    _, second, third = await push_limited(store, ONE, 3)
    held = await take_one(store)
    assert await take(store) == []
    await settle(store, held)
    await store.cancel([second])
    assert await take(store) == []
    assert await reclaim(store) == []
    assert ids(await take(store)) == [third]


async def test_a_paused_queue_starts_nothing_and_loses_nothing(store: FullStore) -> None:
    pushed = await push_limited(store, ONE, 2)
    await store.pause(QUEUE)
    assert await take(store) == []
    assert await states(store, pushed) == [State.READY] * 2
    await store.resume(QUEUE)
    assert ids(await take(store)) == pushed[:1]


async def test_a_dead_letter_that_is_put_back_has_its_limit(store: FullStore) -> None:
    await bury(store)
    [pushed] = await push_limited(store, ONE)
    await settle(store, await take_one(store), DEAD)
    assert await store.requeue([pushed]) == 1
    assert (await take_one(store)).limit == ONE


async def test_unique_keys_are_held_meanwhile(store: FullStore) -> None:
    first, second, third = limited(ONE, 3)
    second.unique = third.unique = "unique"
    await store.push([first, second])
    await take(store)
    [receipt] = await store.push([third])
    assert receipt.holder == second.id


async def test_the_tick_of_a_schedule_is_limited_too(store: FullStore) -> None:
    first, second = limited(ONE, 2)
    assert await store.push_tick("schedule", 1.0, first)
    assert await store.push_tick("schedule", 2.0, second)
    assert ids(await take(store)) == [first.id]


async def test_bulk_and_synchronous_pushes_are_limited(engine: Engine, store: FullStore) -> None:
    messages = [*limited(ONE, 3), message()]
    await engine.in_thread(lambda: store.push_sync(messages))
    more = limited(ONE, 1)
    await engine.in_thread(lambda: store.push_sync(more))
    assert ids(await take(store)) == [messages[0].id, messages[3].id]
    assert (await stats(store)).delayed == 3


async def test_claims_of_many_processes_never_exceed_a_limit(
    engine: Engine, store: FullStore
) -> None:
    keys = [Limit("two", 2), Limit("three", 3)]
    messages = [each for _ in range(20) for key in keys for each in limited(key, 1)]
    free = [message() for _ in range(20)]
    await store.push([*messages, *free])
    running = dict.fromkeys(keys, 0)
    most = dict(running)
    finished: list[str] = []
    lock = threading.Lock()
    outcomes: Iterator[Outcome] = cycle([DONE, DONE, Retry(b"h", 0.0), DONE, Release()])

    def begun(claims: list[Claim]) -> None:
        with lock:
            for each in claims:
                if each.limit:
                    running[each.limit] += 1
                    most[each.limit] = max(most[each.limit], running[each.limit])

    async def work(each: FullStore) -> None:
        for _ in range(3000):
            if len(finished) == len(messages) + len(free):
                return
            claims = await take(each, 3)
            begun(claims)
            for one in claims:
                with lock:
                    outcome = next(outcomes)
                    if one.limit:
                        running[one.limit] -= 1
                    finished.extend([one.id] if outcome is DONE else [])
                await settle(each, one, outcome)
            if not claims:
                await each.wait([QUEUE], 0.01)

    await in_threads(engine, [work] * 4)
    assert sorted(finished) == sorted(each.id for each in [*messages, *free])
    assert all(1 <= most[key] <= (key.concurrency or 0) for key in keys), most
    assert (await stats(store)).delayed == 0
