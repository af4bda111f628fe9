"""One store, one clock, and as many scheduler processes as a test wants."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.fakes import FakeClock, FaultyStore
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.schedule import Entry, Every
from vtasks_asgi.runtime.cron import Cron, tick_id
from vtasks_asgi.runtime.events import Events, Listener
from vtasks_asgi.store.base import State, Ticked
from vtasks_asgi.store.memory import MemoryStore

START = 1_800_000_000.0


class Heard(Listener):
    def __init__(self) -> None:
        self.ticks: list[tuple[str, float, Ticked]] = []
        self.submitted_tasks: list[tuple[str, str, int]] = []
        self.duplicates: list[tuple[str, str, int]] = []

    def submitted(self, task: str, queue: str, count: int) -> None:
        self.submitted_tasks.append((task, queue, count))

    def duplicate(self, task: str, queue: str, count: int) -> None:
        self.duplicates.append((task, queue, count))

    def tick(self, schedule: str, lateness: float, ticked: Ticked) -> None:
        self.ticks.append((schedule, lateness, ticked))


class World:
    """One store, one clock, and as many processes as a test wants."""

    def __init__(self, *entries: Entry, now: float = START) -> None:
        self.clock = FakeClock(now)
        self.memory = MemoryStore(clock=self.clock)
        self.store = FaultyStore(self.memory)
        self.entries = list(entries)
        self.heard = Heard()

    async def open(self) -> "World":
        await self.memory.open()
        return self

    def process(
        self,
        make: Callable[[Entry, float], Message] | None = None,
        clock: FakeClock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> Cron:
        return Cron(
            self.store,
            self.entries,
            make or make_message,
            Events([self.heard]),
            clock or self.clock,
            sleep=sleep,
        )

    async def pushed(self, name: str = "x") -> list[float]:
        """The ticks whose messages the store holds, in the order they were pushed."""
        records, _ = await self.memory.browse("default", State.READY, limit=10_000)
        bodies = [record.body.decode().split("@") for record in records]
        return [float(at) for entry, at in bodies if entry == name]


def make_message(entry: Entry, at: float) -> Message:
    return Message(tick_id(entry.name, at), "default", f"{entry.name}@{at}".encode())


def every(seconds: float, name: str = "x", **options: Any) -> Entry:
    return Entry(name=name, task="a.b", schedule=Every(seconds), **options)
