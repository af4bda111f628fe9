"""Pausing: a paused queue hands out nothing anywhere, and all else goes on."""

import asyncio

import pytest

from tests.store.engines import Engine
from tests.store.helpers import (
    LEASE,
    ODD_NAMES,
    QUEUE,
    bury,
    ids,
    now,
    push,
    pushed_and_taken,
    reclaim,
    record,
    settle,
    stats,
    take,
)
from vtasks_asgi.core.outcome import Done, Release, Retry
from vtasks_asgi.store.base import Claim, FullStore, State
from vtasks_asgi.store.control import Paused

LONG, SOON = 300.0, 15.0


async def next_due(store: FullStore) -> float | None:
    """What a claim says that hands out nothing."""
    claimed = await store.claim(QUEUE, 1, worker="w", lease=LEASE)
    assert claimed.claims == []
    return claimed.next_due


async def test_a_paused_queue_hands_out_nothing_anywhere(engine: Engine, store: FullStore) -> None:
    other = await engine.opened()
    pushed = await push(store, 2)
    elsewhere = await push(store, queue="other")
    await store.pause(QUEUE)
    for each in (store, other):
        assert await take(each) == []
    assert ids(await take(other, queue="other")) == elsewhere
    assert await other.resume(QUEUE)
    assert ids(await take(store)) == pushed


async def test_it_is_still_pushed_to_and_counted(store: FullStore) -> None:
    await store.pause(QUEUE)
    [id] = await push(store)
    counted = await stats(store)
    assert (counted.ready, counted.paused) == (1, True)
    assert (await stats(store, "other")).paused is False
    await store.resume(QUEUE)
    assert (await stats(store)).paused is False
    assert ids(await take(store)) == [id]


async def test_what_runs_goes_on(engine: Engine, store: FullStore) -> None:
    await push(store, 4)
    done, retried, released, _lost = await take(store)
    await store.pause(QUEUE)
    assert await engine.in_thread(lambda: store.extend([done], lease=LEASE)) == []
    assert (await settle(store, done, Done(b"h", ttl=60.0))).lost == []
    assert (await settle(store, retried, Retry(b"h", 0.0))).lost == []
    assert (await settle(store, released, Release())).lost == []
    assert await take(store) == []
    await engine.advance(LEASE + 1)
    [taken] = await reclaim(store)
    await settle(store, taken, Retry(b"h", 0.0))
    assert await take(store) == []
    await store.resume(QUEUE)
    assert ids(await take(store)) == ids([retried, released, taken])


async def test_operators_may_still_do_all(store: FullStore) -> None:
    dead = await bury(store)
    [waiting] = await push(store)
    await store.pause(QUEUE)
    assert await store.requeue(dead) == 1
    assert (await store.cancel([waiting])).buried == {QUEUE: 1}
    assert await store.purge(QUEUE, State.READY) == 1


async def test_a_pause_may_end_by_itself(engine: Engine, store: FullStore) -> None:
    pushed = await push(store)
    until = await now(store) + 20
    await store.pause(QUEUE, until)
    assert await next_due(store) == pytest.approx(20.0, abs=0.01)
    assert (await store.paused()).queues == {QUEUE: pytest.approx(until, abs=0.001)}
    await engine.advance(15.0)
    assert await next_due(store) == pytest.approx(5.0, abs=0.01)
    await engine.advance(6.0)
    assert (await stats(store)).paused is False
    assert await store.paused() == Paused()
    assert ids(await take(store)) == pushed
    assert await store.resume(QUEUE) is False


async def test_pausing_again_changes_when_it_ends(engine: Engine, store: FullStore) -> None:
    pushed = await push(store)
    await store.pause(QUEUE, await now(store) + 20)
    await store.pause(QUEUE)
    assert await store.paused() == Paused({QUEUE: None}, {})
    await engine.advance(25.0)
    assert await take(store) == []
    await store.pause(QUEUE, await now(store) + 5)
    await engine.advance(6.0)
    assert ids(await take(store)) == pushed
    await store.pause(QUEUE, await now(store) - 1)
    await push(store)
    assert len(await take(store)) == 1


async def test_a_worker_does_not_spin(engine: Engine, store: FullStore) -> None:
    """What is ready or due does not make it look again at once."""
    await push(store)
    await push(store, run_at=await now(store) - 5)
    [soon] = await push(store, run_at=await now(store) + 10)
    await store.pause(QUEUE)
    assert await next_due(store) == pytest.approx(10.0, abs=0.01)
    await engine.advance(11.0)
    assert await next_due(store) is None
    assert (await record(store, soon)).state is State.READY
    await store.pause(QUEUE, await now(store) + 10)
    await push(store, run_at=await now(store) + 60)
    assert await next_due(store) == pytest.approx(10.0, abs=0.01)
    await store.resume(QUEUE)
    assert len(await take(store)) == 3


async def test_resuming_wakes_who_waits(engine: Engine, store: FullStore) -> None:
    other = await engine.opened()
    pushed = await push(store)
    await store.pause(QUEUE)
    for resuming in (store, other):
        assert await take(store) == []
        taking = asyncio.create_task(take_when_rung(store))
        await asyncio.sleep(0)
        await resuming.resume(QUEUE)
        async with asyncio.timeout(SOON):
            claims = await taking
        assert ids(claims) == pushed
        await store.pause(QUEUE)
        await settle(store, claims[0], Release())


async def take_when_rung(store: FullStore) -> list[Claim]:
    while True:
        await store.wait([QUEUE], LONG)
        if claims := await take(store):
            return claims


async def test_waiting_for_a_paused_queue_is_no_busy_loop(store: FullStore) -> None:
    await push(store)
    await store.pause(QUEUE)
    await take(store)
    loop = asyncio.get_running_loop()
    start = loop.time()
    for _ in range(10):
        assert await take(store) == []
        await store.wait([QUEUE], 0.05)
    assert loop.time() - start > 0.25


async def test_resuming_what_is_not_paused(store: FullStore) -> None:
    assert await store.resume(QUEUE) is False
    assert await store.resume_task("a.task") is False
    await store.pause(QUEUE)
    assert [await store.resume(QUEUE), await store.resume(QUEUE)] == [True, False]


async def test_tasks_are_paused_by_name(engine: Engine, store: FullStore) -> None:
    other = await engine.opened()
    await store.pause_task("a.task")
    await store.pause_task("b.task", await now(store) + 20)
    until = pytest.approx(await now(store) + 20, abs=0.001)
    assert await other.paused_tasks() == {"a.task", "b.task"}
    assert (await other.paused()).tasks == {"a.task": None, "b.task": until}
    await engine.advance(21.0)
    assert await other.paused_tasks() == {"a.task"}
    assert [await other.resume_task(name) for name in ("a.task", "b.task")] == [True, False]
    assert await store.paused_tasks() == set()
    assert await store.paused() == Paused()


async def test_a_task_and_a_queue_may_have_the_same_name(store: FullStore) -> None:
    await store.pause_task(QUEUE)
    await push(store)
    assert len(await take(store)) == 1
    await store.pause(QUEUE)
    assert await store.paused() == Paused({QUEUE: None}, {QUEUE: None})
    await store.resume_task(QUEUE)
    assert await store.paused() == Paused({QUEUE: None}, {})


async def test_names_of_every_kind(store: FullStore) -> None:
    for name in ODD_NAMES:
        await store.pause(name)
        await store.pause_task(name)
    await store.pause("queue")
    await store.pause("Queue ")
    paused = await store.paused()
    assert set(paused.queues) == {*ODD_NAMES, "queue", "Queue "}
    assert set(paused.tasks) == set(ODD_NAMES) == await store.paused_tasks()
    assert await store.resume("Queue ")
    assert (await stats(store, "queue")).paused
    for name in ODD_NAMES:
        assert await store.resume(name)
        assert await store.resume_task(name)
    assert await store.paused() == Paused({"queue": None}, {})


async def test_a_pause_outlives_its_process(store: FullStore) -> None:
    await store.pause(QUEUE)
    await store.pause_task("a.task")
    await store.aclose()
    await store.open()
    assert await store.paused() == Paused({QUEUE: None}, {"a.task": None})
    await pushed_and_taken(store, "other")
    await push(store)
    assert await take(store) == []
