"""Operators and workers at once: what they were promised holds from the moment it was promised."""

import asyncio
from itertools import count

from tests.store.engines import Engine
from tests.store.helpers import QUEUE, ids, push, stats, take
from tests.store.test_contract_concurrency import in_threads
from vtasks_asgi.core.outcome import CANCELLED, Release, Retry
from vtasks_asgi.store.base import FullStore, Settlement


async def test_nothing_cancelled_is_handed_out_again(engine: Engine, store: FullStore) -> None:
    pushed = await push(store, 60)
    moments = count()
    handed: list[tuple[int, list[str]]] = []
    cancelled: dict[str, int] = {}

    async def work(each: FullStore) -> None:
        while len(cancelled) < len(pushed):
            began = next(moments)
            claims = await take(each, 5)
            handed.append((began, ids(claims)))
            await asyncio.sleep(0.002)  # they are in hand for a moment
            await each.settle([Settlement(claim, Retry(b"h", 0.0)) for claim in claims])

    async def cancel(each: FullStore) -> None:
        for id in pushed:
            await asyncio.sleep(0.003)
            assert (await each.cancel([id])).outcomes[id]
            cancelled[id] = next(moments)

    await in_threads(engine, [work, work, cancel])
    assert sum(len(claims) for _, claims in handed) > len(pushed) / 2, "they never met"
    for began, claims in handed:
        assert all(began < cancelled[id] for id in claims)
    found = await store.lookup(pushed)
    assert {each.reason for each in found.values()} == {CANCELLED}
    assert (await stats(store)).dead == len(pushed)


async def test_no_claim_during_a_pause_hands_out_anything(engine: Engine, store: FullStore) -> None:
    pushed = await push(store, 20)
    moments = count()
    claims: list[tuple[int, int]] = []
    paused: list[tuple[int, int]] = []

    async def work(each: FullStore) -> None:
        while len(paused) < 10:
            began = next(moments)
            taken = await take(each, 3)
            if taken:
                claims.append((began, next(moments)))
            await each.settle([Settlement(claim, Release()) for claim in taken])

    async def pause(each: FullStore) -> None:
        for _ in range(10):
            await asyncio.sleep(0.01)
            await each.pause(QUEUE)
            began = next(moments)
            await asyncio.sleep(0.01)
            paused.append((began, next(moments)))
            await each.resume(QUEUE)

    await in_threads(engine, [work, work, pause])
    assert claims, "they never met"
    for start, end in paused:
        assert not [it for it in claims if start < it[0] and it[1] < end]
    assert sorted(ids(await take(store))) == sorted(pushed)
