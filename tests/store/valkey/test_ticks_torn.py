"""A process dies between the three steps of a tick: it fires once all the same."""

import asyncio
from typing import Any

import pytest

from tests.services.valkey import Valkey
from tests.store.helpers import ids, message, take
from tests.store.valkey.opening import opened
from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.message import Message
from vtasks_asgi.store.base import State, Ticked
from vtasks_asgi.store.valkey import layout, ticks
from vtasks_asgi.store.valkey.keys import Names
from vtasks_asgi.store.valkey.store import ValkeyStore

pytestmark = pytest.mark.server

NIGHTLY = "nightly"
NAMES = Names("vt:")


@pytest.fixture(autouse=True)
def empty(valkey: Valkey) -> None:
    valkey.empty()


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has begun a tick is taken for dead at once."""
    monkeypatch.setattr(ticks, "LEFT_BEHIND", 0.0)


async def recorded(it: ValkeyStore, at: float, tick: Message) -> None:
    """The first step alone."""
    assert await it._call(ticks.record(NAMES, NIGHTLY, at, tick)) == b"recorded"


async def fired(it: ValkeyStore, at: float, tick: Message) -> Any:
    """The second step alone."""
    return await it._call(ticks.fire(NAMES, NIGHTLY, at, tick))


async def test_after_the_first_step_whoever_looks_goes_on(valkey: Valkey) -> None:
    async with opened(valkey.url) as it, opened(valkey.url) as other:
        tick = message("reports", priority=7)
        await recorded(it, 10.0, tick)
        assert await take(other, queue="reports") == []
        assert (await other.ticks([NIGHTLY])).last == {NIGHTLY: 10.0}
        [claim] = await take(other, queue="reports")
        assert (claim.id, claim.body, claim.priority) == (tick.id, b"body", 7)
        assert valkey.ask("EXISTS", "vt:{*}:intents") == 0
        await it.ticks([NIGHTLY])
        assert await take(it, queue="reports") == []
        assert tick.id in await other.lookup([tick.id])  # the queue is known by now


async def test_after_the_second_step_nothing_is_doubled(valkey: Valkey) -> None:
    async with opened(valkey.url) as it, opened(valkey.url) as other:
        tick = message()
        await recorded(it, 10.0, tick)
        assert await fired(it, 10.0, tick) == []
        [claim] = await take(other)
        await other.settle([])
        await other.ticks([NIGHTLY])
        assert await take(other) == []
        assert valkey.ask("EXISTS", "vt:{*}:intents") == 0
        assert claim.id == tick.id


async def test_even_when_the_message_has_ended_since(valkey: Valkey) -> None:
    """Its id is no longer known: only the queue's own record keeps it from firing again."""
    async with opened(valkey.url) as it:
        tick = message()
        await recorded(it, 10.0, tick)
        await fired(it, 10.0, tick)
        await it.purge("default", State.READY)
        await it.ticks([NIGHTLY])
        assert await take(it) == []


async def test_an_earlier_tick_left_behind_comes_before_the_next(valkey: Valkey) -> None:
    async with opened(valkey.url) as it:
        first, second = message(), message()
        await recorded(it, 10.0, first)
        assert await it.push_tick(NIGHTLY, 20.0, second) is Ticked.FIRED
        assert ids(await take(it)) == [first.id, second.id]


async def test_who_wakes_up_late_fires_nothing_again(valkey: Valkey) -> None:
    """Held up between the first and the second step, while others finish it and go on."""
    async with opened(valkey.url) as late, opened(valkey.url) as other:
        first = message()
        await recorded(late, 10.0, first)
        assert await other.push_tick(NIGHTLY, 20.0, message()) is Ticked.FIRED
        assert len(await take(other)) == 2
        assert await fired(late, 10.0, first) == b"late"
        await late._call(ticks.forget(NAMES, layout.name(NIGHTLY), ticks.stamped(10.0)))
        assert await take(late) == []


async def test_the_queue_of_an_entry_changes_between_two_generations(valkey: Valkey) -> None:
    async with opened(valkey.url) as old, opened(valkey.url) as new:
        attempts = [old.push_tick(NIGHTLY, 10.0, message("a")) for _ in range(5)]
        attempts += [new.push_tick(NIGHTLY, 10.0, message("b")) for _ in range(5)]
        answers = await asyncio.gather(*attempts)
        assert sorted(answers) == [Ticked.FIRED] + [Ticked.LATE] * 9
        counts = await old.stats(["a", "b"])
        assert counts["a"].ready + counts["b"].ready == 1


async def test_a_tick_that_cannot_be_pushed_now_is_pushed_later(valkey: Valkey) -> None:
    async with opened(valkey.url) as it:
        tick = message("broken")
        valkey.ask("SET", "vt:{broken}:t", "no hash")
        with pytest.raises(Exception, match="WRONGTYPE"):
            await it.push_tick(NIGHTLY, 10.0, tick)
        assert (await it.ticks([NIGHTLY, "other"])).last == {NIGHTLY: 10.0}  # reading goes on
        valkey.ask("DEL", "vt:{broken}:t")
        await it.ticks([])
        assert ids(await take(it, queue="broken")) == [tick.id]


async def test_died_at_any_byte(valkey: Valkey) -> None:
    """The process is gone after its n-th request: another one finishes, for every n."""
    for survived in range(5):
        valkey.empty()
        async with opened(valkey.url) as it, opened(valkey.url) as other:
            left, call = survived, it._open_session.ticker._call

            async def dying(request: Any) -> Any:
                nonlocal left
                if left == 0:
                    raise StoreUnavailable("died")
                left -= 1
                return await call(request)  # noqa: B023 - used within this turn only

            it._open_session.ticker._call = dying
            tick = message()
            try:
                await it.push_tick(NIGHTLY, 10.0, tick)
            except StoreUnavailable:
                pass
            await other.ticks([NIGHTLY])
            await other.push_tick(NIGHTLY, 10.0, message())
            assert len(await take(other)) == 1
