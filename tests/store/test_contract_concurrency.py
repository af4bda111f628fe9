"""Many at once: no message is handed out twice, none is lost, and each id is stored once."""

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from itertools import cycle

from tests.store.engines import Engine
from tests.store.helpers import (
    LEASE,
    QUEUE,
    ids,
    message,
    push,
    pushed_and_taken,
    reclaim,
    settle,
    stats,
    take,
)
from vtasks_asgi.core.outcome import Done, Outcome, Release, Retry
from vtasks_asgi.store.base import Claim, FullStore, Settlement


async def drained(store: FullStore, limit: int) -> list[Claim]:
    """Claim and settle until nothing is ready."""
    mine: list[Claim] = []
    while claims := await take(store, limit):
        mine += claims
        assert len(mine) <= 1000, "handed out again and again"
        await store.settle([Settlement(claim, Done(b"h")) for claim in claims])
    return mine


async def in_threads(engine: Engine, works: list[Callable[[FullStore], Awaitable[object]]]) -> None:
    """Run each on a loop and a store of its own, all at once, as processes would."""
    start = threading.Barrier(len(works))

    def run(work: Callable[[FullStore], Awaitable[object]]) -> None:
        async def main() -> None:
            store = engine.make()
            await store.open()
            start.wait()
            try:
                await work(store)
            finally:
                await store.aclose()

        asyncio.run(main())

    await asyncio.gather(*(asyncio.to_thread(run, work) for work in works))


async def test_claims_on_one_loop_share_nothing(engine: Engine, store: FullStore) -> None:
    pushed = await push(store, 200)
    other = await engine.opened()
    shares = await asyncio.gather(*(drained(each, 7) for each in (store, other) for _ in range(4)))
    taken = [claim.id for share in shares for claim in share]
    assert sorted(taken) == sorted(pushed)
    assert await store.lookup(pushed) == {}


async def test_claims_of_several_processes_share_nothing(engine: Engine, store: FullStore) -> None:
    pushed = await push(store, 200)
    taken: list[str] = []

    async def work(each: FullStore) -> None:
        taken.extend(ids(await drained(each, 5)))

    await in_threads(engine, [work] * 4)
    assert sorted(taken) == sorted(pushed)


async def test_claims_while_others_push_lose_nothing(engine: Engine, store: FullStore) -> None:
    messages = [message(priority=n % 3) for n in range(200)]
    taken: list[str] = []

    async def produce(each: FullStore) -> None:
        for n in range(0, len(messages), 5):
            await each.push(messages[n : n + 5])

    async def consume(each: FullStore) -> None:
        rounds = 0
        while len(taken) < len(messages):
            taken.extend(ids(await drained(each, 3)))
            await each.wait([QUEUE], 0.01)
            rounds += 1
            assert rounds < 2000, "some never came"

    await in_threads(engine, [produce, consume, consume])
    assert sorted(taken) == sorted(each.id for each in messages)


async def test_an_id_pushed_by_many_at_once_is_stored_once(
    engine: Engine, store: FullStore
) -> None:
    messages = [message() for _ in range(20)]
    stored: Counter[str] = Counter()

    async def work(each: FullStore) -> None:
        for n in range(len(messages)):
            receipts = await each.push(messages[n:] + messages[:n])
            stored.update(receipt.id for receipt in receipts if receipt.stored)

    await in_threads(engine, [work] * 3)
    assert stored == {each.id: 1 for each in messages}
    assert len(await take(store)) == 20


async def test_pushes_of_one_loop_keep_their_own_receipts(store: FullStore) -> None:
    groups = [[message() for _ in range(n % 4)] for n in range(60)]
    answers = await asyncio.gather(*(store.push(group) for group in groups))
    for group, receipts in zip(groups, answers, strict=True):
        assert [receipt.id for receipt in receipts] == [each.id for each in group]
        assert all(receipt.stored for receipt in receipts)


async def test_a_cancelled_push_disturbs_no_other(store: FullStore) -> None:
    messages = [message() for _ in range(40)]
    pushes = [asyncio.create_task(store.push([each])) for each in messages]
    await asyncio.sleep(0)
    for cancelled in pushes[::3]:
        cancelled.cancel()
    await asyncio.wait(pushes, timeout=20)  # one that is never answered must not hang the suite
    answers = [each.exception() or each.result() for each in pushes if not each.cancelled()]
    kept = [receipt.id for each in answers if isinstance(each, list) for receipt in each]
    assert set(kept) >= {each.id for n, each in enumerate(messages) if n % 3}
    found = await store.lookup([each.id for each in messages])
    assert set(kept) <= set(found)
    assert (await store.push([message()]))[0].stored


async def test_expired_leases_are_taken_over_by_one_each(engine: Engine, store: FullStore) -> None:
    pushed = await push(store, 60)
    await take(store)
    await engine.advance(LEASE + 1)
    taken: list[str] = []

    async def work(each: FullStore) -> None:
        while claims := await reclaim(each, 4):
            taken.extend(ids(claims))
            assert len(taken) <= len(pushed), "taken over twice"

    await in_threads(engine, [work] * 3)
    assert sorted(taken) == sorted(pushed)


async def test_of_the_late_and_the_rescuer_one_settles(engine: Engine, store: FullStore) -> None:
    other = await engine.opened()
    for _ in range(10):
        late = await pushed_and_taken(store)
        await engine.advance(LEASE + 1)
        claims, settled = await asyncio.gather(reclaim(other), settle(store, late))
        # Whoever came first has it: either the settlement was lost, or nothing was left to rescue.
        assert ids(settled.lost) == ids(claims)
        for claim in claims:
            assert (await settle(other, claim)).lost == []
    assert (await stats(store)).running == 0


async def test_extending_from_a_thread_while_the_loop_settles(
    engine: Engine, store: FullStore
) -> None:
    await push(store, 100)
    claims = await take(store)
    stop = threading.Event()
    lost: list[str] = []

    def renew() -> None:
        while not stop.is_set():
            lost.extend(ids(store.extend(claims, lease=LEASE)))

    renewing = asyncio.create_task(engine.in_thread(renew))
    outcomes: Iterator[Outcome] = cycle([Done(b"h"), Retry(b"h", 60.0), Release(60.0)])
    try:
        for claim, outcome in zip(claims, outcomes, strict=False):
            assert (await settle(store, claim, outcome)).lost == []
    finally:
        stop.set()
        await renewing
    assert ids(await engine.in_thread(lambda: store.extend(claims, lease=LEASE))) == ids(claims)
    assert set(lost) <= set(ids(claims))
