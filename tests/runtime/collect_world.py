"""Workers that run one queue in batches, in virtual time: no thread keeps their leases."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.runtime.helpers import Recorder, Script, SpyStore, Work, configured, message
from vtasks_asgi.core.batch import Batch
from vtasks_asgi.core.outcome import Outcome
from vtasks_asgi.runtime.collect import Collector
from vtasks_asgi.runtime.config import PoolConfig
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.execute import Executions, Hand
from vtasks_asgi.runtime.pauses import Pauses
from vtasks_asgi.runtime.settle import Settler
from vtasks_asgi.runtime.slots import Slots
from vtasks_asgi.runtime.supervise import services
from vtasks_asgi.runtime.suspects import Suspects
from vtasks_asgi.store.base import Claim, Record
from vtasks_asgi.store.memory import MemoryStore

QUEUE = "b"


class LoopClock:
    """The loop's own time, which in a virtual loop is free."""

    def now(self) -> float:
        return 1_800_000_000.0 + self.monotonic()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class Noting(Script):
    """Also notes when each batch began."""

    def __init__(self, work: Work | None) -> None:
        super().__init__(*[work] if work else [])
        self.times: list[float] = []

    async def batch(self, batch: Batch, claims: Sequence[Claim], hand: Hand) -> Outcome:
        self.times.append(asyncio.get_running_loop().time())
        return await super().batch(batch, claims, hand)


class Worker:
    """A collector and what it needs; ``slots`` batches at once."""

    def __init__(
        self, memory: MemoryStore, batch: Batch, work: Work | None = None, *, slots: int = 1
    ) -> None:
        self.store = SpyStore(memory)
        self.script = Noting(work)
        self.recorder = Recorder()
        events, clock = Events([self.recorder]), LoopClock()
        config = configured(PoolConfig((QUEUE,), slots), batches={QUEUE: batch})
        self.settler = Settler(self.store, events)
        context = contextvars.copy_context()
        self.executions = Executions(self.script, self.settler, clock, context)
        self.settler.settled = self.executions.settled
        self.suspects = Suspects(self.executions, self.settler, clock)
        self.slots = Slots(slots)
        hands = self.slots, self.executions, self.settler, self.suspects
        self.pauses = Pauses(self.store, self.settler, events=events, clock=clock)
        means: dict[str, Any] = {"config": config, "events": events, "clock": clock}
        self.collector = Collector(self.store, QUEUE, *hands, pauses=self.pauses, **means)
        self._events = events

    @asynccontextmanager
    async def alive(self, drain: float = 0.0) -> AsyncIterator[None]:
        """It works for the body's duration, and has ended in order afterwards."""
        async with services({"settle": self.settler.run}, self._events):
            running = {"pauses": self.pauses.run, "collect": self.collector.run}
            async with services(running, self._events):
                yield
            await self.executions.drain(drain)
            await self.settler.flush(1.0)

    @property
    def sizes(self) -> list[int]:
        return [len(claims) for claims in self.script.batches]

    def held(self) -> set[str]:
        """What was collected and does not run."""
        return {each.claim.id for each in self.executions.in_hand() if each.waiting}


class World:
    """One store, and workers on it."""

    def __init__(self) -> None:
        self.memory = MemoryStore(clock=LoopClock())

    async def worker(self, *, work: Work | None = None, slots: int = 1, **batch: Any) -> Worker:
        """Another worker; the batch is of 3, or what there is after 5 s, unless told otherwise."""
        memory = self.memory.twin()
        await memory.open()
        chosen: dict[str, Any] = {"count": 3, "timeout": 5.0}
        return Worker(memory, Batch(**(chosen | batch)), work, slots=slots)

    async def push(self, count: int = 1, task: str = "a.task", **options: Any) -> list[str]:
        await self.memory.open()
        messages = [message(QUEUE, task=task, **options) for _ in range(count)]
        await self.memory.push(messages)
        return [each.id for each in messages]

    async def records(self, ids: Sequence[str]) -> list[Record]:
        await self.memory.open()
        found = await self.memory.lookup(ids)
        return [found[id] for id in ids]

    async def crashed(self, count: int = 1, *, crashes: int = 1) -> list[str]:
        """Messages whose worker has vanished so often."""
        ids = await self.push(count)
        for id in ids:
            self.memory._entries[id].record.crashes = crashes
        return ids
