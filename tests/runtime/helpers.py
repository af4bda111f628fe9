"""What tests of the runtime share: a listener that remembers, an invoke that does as told."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.fakes import FakeClock, FaultyStore
from vtasks_asgi.core.batch import Batch
from vtasks_asgi.core.clock import Clock
from vtasks_asgi.core.envelope import Call, encode
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.outcome import Done, Outcome, Release, dump_history
from vtasks_asgi.core.retry import after_crash
from vtasks_asgi.runtime.config import PoolConfig, RuntimeConfig
from vtasks_asgi.runtime.events import Events, Listener
from vtasks_asgi.runtime.execute import Hand
from vtasks_asgi.runtime.runtime import Runtime
from vtasks_asgi.store.base import Claim, Claimed, Record, Settled, Settlement
from vtasks_asgi.store.memory import MemoryStore

QUEUE = "default"
NOTHING = dump_history([])
DONE = Done(NOTHING, None, 3600.0)
#: Seconds after which a wait for something that must happen gives up.
PATIENCE = 20.0

type Work = Callable[[Claim], Awaitable[Outcome]]


class Changes:
    """Wakes those who wait for a condition, whenever something may have changed it."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def tell(self) -> None:
        self._changed.set()

    def tell_from_thread(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._changed.set)

    async def until(self, condition: Callable[[], bool]) -> None:
        self._loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Recorder(Listener):
    """Remembers every event in order; ``until`` waits for some of one name."""

    def __init__(self) -> None:
        self.told: list[tuple[str, tuple[Any, ...]]] = []
        self._changes = Changes()

    def note(self, name: str, args: tuple[Any, ...]) -> None:
        self.told.append((name, args))
        self._changes.tell()

    def all(self, name: str) -> list[tuple[Any, ...]]:
        return [args for told, args in self.told if told == name]

    async def until(self, name: str, count: int = 1) -> list[tuple[Any, ...]]:
        await self._changes.until(lambda: len(self.all(name)) >= count)
        return self.all(name)


def _recording(name: str) -> Callable[..., None]:
    def record(self: Recorder, *args: Any) -> None:
        self.note(name, args)

    return record


for _name in [name for name in vars(Listener) if not name.startswith("_")]:
    setattr(Recorder, _name, _recording(_name))


async def _at_once(claim: Claim) -> Outcome:
    return DONE


class Script:
    """Stands where ``vtasks_asgi.invoke`` does: runs ``work`` for every claim, and keeps count.

    A batch is ``work`` for each of its claims in turn; ``batches`` are those begun.
    """

    def __init__(self, work: Work = _at_once) -> None:
        self.work = work
        self.batches: list[list[Claim]] = []
        self.began: list[Claim] = []
        self.ended: list[Claim] = []
        self.most = 0
        self.closed = False
        self.in_loop = True
        self._changes = Changes()

    def context(self, base: contextvars.Context) -> contextvars.Context:
        return base.copy()

    def interruptible(self, claim: Claim) -> bool:
        return self.in_loop

    def close(self) -> None:
        self.closed = True

    async def __call__(self, claim: Claim) -> Outcome:
        self.began.append(claim)
        self.most = max(self.most, self.running)
        self._changes.tell()
        try:
            return await self.work(claim)
        finally:
            self.ended.append(claim)
            self._changes.tell()

    async def batch(self, batch: Batch, claims: Sequence[Claim], hand: Hand) -> Outcome:
        self.batches.append(list(claims))
        for claim in claims:
            if hand.holds(claim):
                hand.decide(claim, await self(claim))
        return Release()

    async def until_batches(self, count: int = 1) -> None:
        """Until so many batches have begun."""
        await self._changes.until(lambda: len(self.batches) >= count)

    @property
    def running(self) -> int:
        return len(self.began) - len(self.ended)

    async def until_began(self, count: int = 1) -> None:
        await self._changes.until(lambda: len(self.began) >= count)

    async def until_ended(self, count: int = 1) -> None:
        await self._changes.until(lambda: len(self.ended) >= count)


class Gated:
    """Work that waits until let go, one by one."""

    def __init__(self) -> None:
        self._passes = asyncio.Semaphore(0)

    async def __call__(self, claim: Claim) -> Outcome:
        await self._passes.acquire()
        return DONE

    def release(self, count: int = 1) -> None:
        for _ in range(count):
            self._passes.release()


class SpyStore(FaultyStore):
    """Also remembers what was asked: claims, settlements, and how long was waited."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.memory = store
        self.claimed: list[tuple[str, int]] = []
        self.settlements: list[list[Settlement]] = []
        self.waits: list[tuple[list[str], float]] = []
        self.changes = Changes()

    async def claim(self, queue: str, limit: int, *, worker: str, lease: float) -> Claimed:
        self.claimed.append((queue, limit))
        self.changes.tell()
        return await super().claim(queue, limit, worker=worker, lease=lease)

    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        try:
            return super().extend(claims, lease=lease)
        finally:
            self.changes.tell_from_thread()

    async def settle(self, settlements: Sequence[Settlement]) -> Settled:
        self.settlements.append(list(settlements))
        settled = await super().settle(settlements)
        self.changes.tell()
        return settled

    async def wait(self, queues: Sequence[str], timeout: float) -> None:
        self.waits.append((list(queues), timeout))
        self.changes.tell()
        await super().wait(queues, timeout)

    async def until_settled(self, count: int = 1) -> None:
        """Until so many settlements were asked for, repeated ones included."""
        await self.changes.until(lambda: sum(map(len, self.settlements)) >= count)

    async def peer(self) -> MemoryStore:
        """The same memory as another process has it: open, and without faults."""
        other = self.memory.twin()
        await other.open()
        return other

    async def record(self, id: str) -> Record:
        """The record of this id, which must exist."""
        return (await (await self.peer()).lookup([id]))[id]


def message(queue: str = QUEUE, *, run_at: float | None = None, task: str = "a.task") -> Message:
    return Message(new_id(), queue, encode(Call(task, [], {}, 0.0)), run_at=run_at)


async def push(store: MemoryStore, count: int = 1, queue: str = QUEUE) -> list[str]:
    messages = [message(queue) for _ in range(count)]
    await store.push(messages)
    return [each.id for each in messages]


def configured(*pools: PoolConfig, **options: Any) -> RuntimeConfig:
    """One pool of two slots unless told otherwise; no time to waste at the end."""
    quick: dict[str, Any] = {"worker": "me", "drain_timeout": 0.0, "reclaim_every": 0.005}
    return RuntimeConfig(pools=pools or (PoolConfig((QUEUE,), 2),), **(quick | options))


def rescue(claim: Claim) -> Outcome:
    """What ``vtasks_asgi.invoke`` decides, without the history."""
    return after_crash(3, crashes=claim.crashes, history=NOTHING, cancelled=claim.cancelled)


class Scene:
    """A runtime over a spied-on memory store, its clock standing still unless told otherwise."""

    def __init__(
        self,
        work: Work = _at_once,
        *,
        clock: Clock | None = None,
        dead_letter_cap: int = 1000,
        config: RuntimeConfig | None = None,
        rescue: Callable[[Claim], Outcome] = rescue,
        cron: Any = None,
    ) -> None:
        self.fake = FakeClock()
        self.clock = clock or self.fake
        self.memory = MemoryStore(clock=self.clock, dead_letter_cap=dead_letter_cap)
        self.store = SpyStore(self.memory)
        self.script = Script(work)
        self.recorder = Recorder()
        self.events = Events([self.recorder])
        self.config = config or configured()
        self.runtime = Runtime(
            "default",
            self.store,
            self.script,
            rescue,
            self.config,
            events=self.events,
            cron=cron,
            clock=self.clock,
        )

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[asyncio.Task[None]]:
        """The runtime runs for the body's duration, and has ended in order afterwards."""
        life = asyncio.create_task(self.runtime.run())
        try:
            yield life
        finally:
            self.runtime.close()
            async with asyncio.timeout(PATIENCE):
                await life

    async def run(self) -> None:
        """The runtime's life, which must come to an end by itself."""
        async with asyncio.timeout(PATIENCE):
            await self.runtime.run()

    async def until_open(self) -> None:
        """Until the runtime has opened its store, and asked it for the first time."""
        await self.store.changes.until(lambda: self.runtime.is_open)

    async def push(self, count: int = 1, queue: str = QUEUE) -> list[str]:
        """Messages from another process."""
        return await push(await self.store.peer(), count, queue)


async def turns(count: int = 20) -> None:
    """Let everybody else have so many turns of the loop: time for what must not happen."""
    for _ in range(count):
        await asyncio.sleep(0)
