"""Delayed messages begin in time at an idle worker: at most 50 ms late, however many queues."""

import asyncio
import contextvars
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.runtime.collect_world import LoopClock
from tests.runtime.helpers import DONE, Script, configured, message, push
from tests.runtime.virtual_time import VirtualLoop
from vtasks_asgi.core.outcome import Outcome
from vtasks_asgi.runtime.config import PoolConfig
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.execute import Executions
from vtasks_asgi.runtime.fetch import Fetcher
from vtasks_asgi.runtime.pauses import Pauses
from vtasks_asgi.runtime.settle import Settler
from vtasks_asgi.runtime.slots import Slots
from vtasks_asgi.runtime.supervise import services
from vtasks_asgi.runtime.suspects import Suspects
from vtasks_asgi.store.base import Claim, Claimed
from vtasks_asgi.store.memory import MemoryStore

#: What is promised, in seconds.
LATE = 0.05
QUEUES = tuple("abcdefgh")


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=VirtualLoop) as it:
        yield it


class SlowStore(MemoryStore):
    """Every claim takes 5 ms, as over a network, and wakes nobody who waits for something else."""

    async def claim(self, queue: str, limit: int, *, worker: str, lease: float) -> Claimed:
        claimed = await super().claim(queue, limit, worker=worker, lease=lease)
        await asyncio.sleep(0.005)
        return claimed

    def _ring(self, queue: str) -> None:
        """Nobody hears a push: as from another process whose bell is broken."""


class Idle:
    """A fetcher with nothing else to do, and when each message began, by its id."""

    def __init__(self, store: MemoryStore, queues: Sequence[str]) -> None:
        clock, events = LoopClock(), Events()
        self.began: dict[str, float] = {}
        self.script = Script(self._note)
        self.settler = Settler(store, events)
        context = contextvars.copy_context()
        executions = Executions(self.script, self.settler, clock, context)
        self.settler.settled = executions.settled
        config = configured(PoolConfig(tuple(queues), 5))
        hands = Slots(5), executions, self.settler, Suspects(executions, self.settler, clock)
        told: Any = {"config": config, "events": events, "clock": clock}
        pauses = Pauses(store, self.settler, events=events, clock=clock)
        self.fetcher = Fetcher(store, queues, *hands, pauses=pauses, **told)
        running = {"fetch": self.fetcher.run, "settle": self.settler.run, "pauses": pauses.run}
        self.services = services(running, events)

    async def _note(self, claim: Claim) -> Outcome:
        self.began[claim.id] = LoopClock().now()
        return DONE


async def test_each_begins_in_time(runner: asyncio.Runner) -> None:
    clock, chance = LoopClock(), random.Random(7)
    store = SlowStore(clock=clock)
    await store.open()
    due = {}
    for number in range(200):
        at = clock.now() + 0.2 + number * 0.4 + chance.random() * 0.3
        each = message(QUEUES[number % len(QUEUES)], run_at=at)
        due[each.id] = at
        await store.push([each])
    idle = Idle(store, QUEUES)
    async with idle.services:
        await asyncio.sleep(max(due.values()) - clock.now() + 1.0)
    assert idle.began.keys() == due.keys()
    lateness = [idle.began[id] - at for id, at in due.items()]
    assert min(lateness) >= 0.0, "none begins too early"
    assert max(lateness) <= LATE


async def test_one_that_is_pushed_meanwhile_is_waited_for_too(runner: asyncio.Runner) -> None:
    clock = LoopClock()
    store = MemoryStore(clock=clock)
    await store.open()
    idle = Idle(store, ["a"])
    async with idle.services:
        await asyncio.sleep(0.123)
        early, late = message("a", run_at=clock.now() + 0.3), message("a", run_at=clock.now() + 9.0)
        await store.push([late])
        await store.push([early])
        await idle.script.until_ended(2)
        await push(store, 1, "a")
        await idle.script.until_ended(3)
    for each in (early, late):
        assert each.run_at is not None
        assert 0.0 <= idle.began[each.id] - each.run_at <= LATE
