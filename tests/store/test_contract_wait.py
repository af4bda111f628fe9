"""Waiting: a push ends it, also one that came between the last claim and the wait.

``SOON`` only keeps a broken doorbell from hanging the suite; what is waited for is the ring.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.store.engines import Engine
from tests.store.helpers import (
    QUEUE,
    bury,
    ids,
    message,
    now,
    push,
    pushed_and_taken,
    settle,
    take,
)
from vtasks_asgi.core.outcome import Release, Retry
from vtasks_asgi.store.base import FullStore

LONG = 300.0
SOON = 15.0


async def wakes(store: FullStore, ring: Callable[[], Awaitable[object]]) -> None:
    """A wait begun before ``ring`` ends."""
    await take(store)
    waiting = asyncio.create_task(store.wait([QUEUE], LONG))
    await asyncio.sleep(0)
    await ring()
    await asyncio.wait_for(waiting, SOON)


async def test_a_push_ends_the_wait(store: FullStore) -> None:
    await wakes(store, lambda: push(store))
    assert len(await take(store)) == 1


async def test_a_delayed_push_ends_it_too(store: FullStore) -> None:
    start = await now(store)
    await wakes(store, lambda: push(store, run_at=start + 60))


async def test_a_tick_ends_it(store: FullStore) -> None:
    await wakes(store, lambda: store.push_tick("nightly", 5.0, message()))


async def test_a_push_from_a_thread_ends_it(engine: Engine, store: FullStore) -> None:
    await wakes(store, lambda: engine.in_thread(lambda: store.push_sync([message()])))


async def test_a_push_of_another_process_ends_it(engine: Engine, store: FullStore) -> None:
    other = await engine.opened()
    await wakes(store, lambda: push(other))


async def test_dead_letters_made_ready_end_it(store: FullStore) -> None:
    buried = await bury(store)
    await wakes(store, lambda: store.requeue(buried))


@pytest.mark.parametrize("outcome", [Release(), Retry(b"h", 0.0)], ids=["release", "retry"])
async def test_what_is_given_back_ends_it(store: FullStore, outcome: Release | Retry) -> None:
    claim = await pushed_and_taken(store)
    await wakes(store, lambda: settle(store, claim, outcome))


async def test_every_waiter_is_woken(engine: Engine, store: FullStore) -> None:
    other = await engine.opened()
    await take(store)
    await take(other)
    waits = [
        each.wait(queues, LONG) for each in (store, other) for queues in ([QUEUE], ["a", QUEUE])
    ]
    waiting = asyncio.gather(*waits)
    await asyncio.sleep(0)
    await push(store)
    await asyncio.wait_for(waiting, SOON)


async def test_a_push_between_the_claim_and_the_wait_is_not_missed(store: FullStore) -> None:
    for _ in range(20):
        assert await take(store) == []
        await push(store)
        await asyncio.wait_for(store.wait([QUEUE], LONG), SOON)
        assert len(await take(store)) == 1


async def test_a_push_between_two_queues_claims_is_not_missed(store: FullStore) -> None:
    assert await take(store, queue="first") == []
    await push(store, 1, "first")
    assert await take(store, queue="second") == []
    await asyncio.wait_for(store.wait(["first", "second"], LONG), SOON)


async def test_a_push_while_the_claim_is_under_way_is_not_missed(store: FullStore) -> None:
    claims, pushed = await asyncio.gather(take(store), push(store))
    if not claims:
        await asyncio.wait_for(store.wait([QUEUE], LONG), SOON)
        claims = await take(store)
    assert ids(claims) == pushed


@pytest.mark.parametrize("timeout", [0.0, 0.01])
async def test_without_a_push_it_ends_by_itself(store: FullStore, timeout: float) -> None:
    await take(store)
    await asyncio.wait_for(store.wait([QUEUE, "other"], timeout), SOON)


async def test_it_does_sleep_while_nothing_happens(store: FullStore) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    for _ in range(10):
        await take(store)
        await store.wait([QUEUE], 0.05)
    # Early is legal now and then; never sleeping would be a busy loop.
    assert loop.time() - start > 0.25


async def test_a_wait_may_be_cancelled(store: FullStore) -> None:
    await take(store)
    waiting = asyncio.create_task(store.wait([QUEUE], LONG))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await wakes(store, lambda: push(store))
