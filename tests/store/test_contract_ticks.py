"""Ticks: compared and set together with the push, so that each fires exactly once."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from tests.store.engines import Engine
from tests.store.helpers import QUEUE, ids, message, now, push, record, stats, take
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.store.base import FullStore, State, Ticked

NIGHTLY = "nightly report"


async def test_a_schedule_never_seen_has_no_tick(engine: Engine, store: FullStore) -> None:
    known = await store.ticks([NIGHTLY, "other"])
    assert known.last == {}
    await engine.advance(5.0)
    assert (await store.ticks([])).now >= known.now


async def test_a_tick_is_recorded_together_with_its_message(store: FullStore) -> None:
    fired = message(body=b"tick", priority=4)
    assert await store.push_tick(NIGHTLY, 1000.25, fired) is Ticked.FIRED
    assert (await store.ticks([NIGHTLY])).last == {NIGHTLY: 1000.25}
    [claim] = await take(store)
    assert (claim.id, claim.body, claim.priority, claim.attempt) == (fired.id, b"tick", 4, 1)


@pytest.mark.parametrize("at", [1000.25, 1000.249999, 0.0, -5.0])
async def test_a_tick_no_later_than_the_last_stores_nothing(store: FullStore, at: float) -> None:
    await store.push_tick(NIGHTLY, 1000.25, None)
    second = message()
    assert await store.push_tick(NIGHTLY, at, second) is Ticked.LATE
    assert await store.lookup([second.id]) == {}
    assert (await store.ticks([NIGHTLY])).last == {NIGHTLY: 1000.25}
    assert await take(store) == []


async def test_a_later_tick_fires_again(store: FullStore) -> None:
    start = await now(store)
    for step in (0.0, 0.000_01, 60.0, 86_400.0):
        assert await store.push_tick(NIGHTLY, start + step, message()) is Ticked.FIRED
    assert (await store.ticks([NIGHTLY])).last == {NIGHTLY: start + 86_400.0}
    assert len(await take(store)) == 4


async def test_a_tick_without_a_message_is_recorded_and_fires_nothing(store: FullStore) -> None:
    assert await store.push_tick(NIGHTLY, 1000.0, None) is Ticked.SKIPPED
    assert (await store.ticks([NIGHTLY])).last == {NIGHTLY: 1000.0}
    assert (await stats(store)).ready == 0
    assert await store.push_tick(NIGHTLY, 1000.0, message()) is Ticked.LATE
    assert await store.push_tick(NIGHTLY, 1001.0, message()) is Ticked.FIRED


async def test_schedules_do_not_know_each_other(store: FullStore) -> None:
    assert await store.push_tick("one", 2000.0, None)
    assert await store.push_tick("two", 1000.0, None)
    assert await store.push_tick("three", 5.0, None)
    assert (await store.ticks(["two", "one", "never"])).last == {"one": 2000.0, "two": 1000.0}


async def test_a_tick_may_be_delayed_and_go_to_any_queue(engine: Engine, store: FullStore) -> None:
    start = await now(store)
    fired = message("reports", run_at=start + 60)
    assert await store.push_tick(NIGHTLY, start, fired)
    assert (await record(store, fired.id)).state is State.DELAYED
    await engine.advance(61.0)
    assert ids(await take(store, queue="reports")) == [fired.id]


async def test_a_tick_whose_message_is_known_already_pushes_no_second(store: FullStore) -> None:
    [known] = await push(store)
    assert await store.push_tick(NIGHTLY, 5.0, Message(known, QUEUE, b"again")) is Ticked.FIRED
    assert (await store.ticks([NIGHTLY])).last == {NIGHTLY: 5.0}
    assert [claim.body for claim in await take(store)] == [b"body"]


async def test_a_failing_push_leaves_no_tick(store: FullStore) -> None:
    unstorable: Any = Message(new_id(), QUEUE, None)  # type: ignore[arg-type]
    with suppress(Exception):
        await store.push_tick(NIGHTLY, 5.0, unstorable)
    recorded = NIGHTLY in (await store.ticks([NIGHTLY])).last
    stored = unstorable.id in await store.lookup([unstorable.id])
    assert recorded == stored  # a store that can keep such a body may; half of it none may


async def test_of_many_who_see_the_same_tick_one_fires(engine: Engine, store: FullStore) -> None:
    others = [await engine.opened() for _ in range(2)]
    for at in (10.0, 20.0, 30.0):
        fired = await asyncio.gather(
            *(each.push_tick(NIGHTLY, at, message()) for each in [store, *others] * 4)
        )
        assert sorted(fired) == [Ticked.FIRED] + [Ticked.LATE] * 11
    assert len(await take(store)) == 3
