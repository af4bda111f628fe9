"""Stand-ins for what tests must control: time, and a store that fails on command."""

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.message import Message
from vtasks_asgi.store.base import (
    Claim,
    Claimed,
    FullStore,
    QueueStats,
    Receipt,
    Record,
    Settled,
    Settlement,
    State,
    Ticked,
    Ticks,
)
from vtasks_asgi.store.control import Cancellation, Paused
from vtasks_asgi.store.groups import GroupRecord, Mark, NewGroup, Opened


class FakeClock:
    """A clock that stands still until told to ``advance``. Times are in seconds."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._monotonic = 1_000.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Both clocks move on by as much."""
        self._now += seconds
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """The wall clock jumps, back or forth, as when somebody sets it."""
        self._now += seconds


@dataclass(slots=True)
class _Fault:
    """``left`` calls yet to fail; ``committed`` tells whether the store does the work first."""

    left: float
    committed: bool
    error: Exception


class Flag:
    """An event that threads and coroutines can both wait for, and either can set."""

    def __init__(self) -> None:
        self._set = threading.Event()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def set(self) -> None:
        self._set.set()
        for loop, event in self._waiting:
            loop.call_soon_threadsafe(event.set)

    async def wait(self) -> None:
        event = asyncio.Event()
        self._waiting.append((asyncio.get_running_loop(), event))
        if not self._set.is_set():
            await event.wait()

    def wait_blocking(self) -> None:
        self._set.wait()


@dataclass(slots=True)
class Gate:
    """Holds calls until ``opened`` is set; ``reached`` is set when the first one has arrived."""

    reached: Flag = field(default_factory=Flag)
    opened: Flag = field(default_factory=Flag)


class FaultyStore:
    """A store that is down, slow, or fails after it has committed, for the verbs told.

    ``fail("settle")`` makes the verb raise before anything is written, ``fail("settle",
    committed=True)`` after it; ``hold("claim")`` lets calls wait at a gate; ``down = True`` is an
    outage of everything. ``calls`` counts what was asked, refused or not.
    """

    def __init__(self, store: FullStore) -> None:
        self.store = store
        self.down = False
        self.calls: Counter[str] = Counter()
        self._faults: dict[str, _Fault] = {}
        self._gates: dict[str, Gate] = {}

    def fail(
        self,
        *verbs: str,
        times: float = 1,
        committed: bool = False,
        error: Exception | None = None,
    ) -> None:
        """The next ``times`` calls of these verbs raise ``error`` (StoreUnavailable)."""
        for verb in verbs:
            fault = error or StoreUnavailable(f"{verb} fails as told")
            self._faults[verb] = _Fault(times, committed, fault)

    def heal(self, *verbs: str) -> None:
        """Forget the faults of these verbs; of all when none is named, and the outage."""
        if not verbs:
            self.down = False
        for verb in verbs or list(self._faults):
            self._faults.pop(verb, None)

    def hold(self, verb: str) -> Gate:
        """Calls of this verb wait, before they do anything, until ``gate.opened.set()``."""
        gate = self._gates[verb] = Gate()
        return gate

    def _fault(self, verb: str) -> _Fault | None:
        self.calls[verb] += 1
        if self.down:
            raise StoreUnavailable("the store is down")
        fault = self._faults.get(verb)
        if fault is None or fault.left < 1:
            return None
        fault.left -= 1
        if not fault.committed:
            raise fault.error
        return fault

    async def _do[T](self, verb: str, work: Callable[[], Awaitable[T]]) -> T:
        if gate := self._gates.get(verb):
            gate.reached.set()
            await gate.opened.wait()
        fault = self._fault(verb)
        result = await work()
        if fault:
            raise fault.error
        return result

    def _do_sync[T](self, verb: str, work: Callable[[], T]) -> T:
        if gate := self._gates.get(verb):
            gate.reached.set()
            gate.opened.wait_blocking()
        fault = self._fault(verb)
        result = work()
        if fault:
            raise fault.error
        return result

    async def open(self) -> None:
        await self._do("open", self.store.open)

    async def aclose(self) -> None:
        self.calls["aclose"] += 1
        await self.store.aclose()

    async def push(self, messages: Sequence[Message]) -> list[Receipt]:
        return await self._do("push", lambda: self.store.push(messages))

    def push_sync(self, messages: Sequence[Message]) -> list[Receipt]:
        return self._do_sync("push_sync", lambda: self.store.push_sync(messages))

    async def ticks(self, schedules: Sequence[str]) -> Ticks:
        return await self._do("ticks", lambda: self.store.ticks(schedules))

    async def push_tick(self, schedule: str, at: float, message: Message | None) -> Ticked:
        return await self._do("push_tick", lambda: self.store.push_tick(schedule, at, message))

    async def claim(self, queue: str, limit: int, *, worker: str, lease: float) -> Claimed:
        return await self._do(
            "claim", lambda: self.store.claim(queue, limit, worker=worker, lease=lease)
        )

    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        return self._do_sync("extend", lambda: self.store.extend(claims, lease=lease))

    async def settle(self, settlements: Sequence[Settlement]) -> Settled:
        return await self._do("settle", lambda: self.store.settle(settlements))

    async def save(self, claim: Claim) -> bool:
        return await self._do("save", lambda: self.store.save(claim))

    async def reclaim(self, queue: str, limit: int, *, worker: str, lease: float) -> list[Claim]:
        return await self._do(
            "reclaim", lambda: self.store.reclaim(queue, limit, worker=worker, lease=lease)
        )

    async def wait(self, queues: Sequence[str], timeout: float) -> None:
        await self._do("wait", lambda: self.store.wait(queues, timeout))

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        return await self._do("stats", lambda: self.store.stats(queues))

    async def known_queues(self) -> list[str]:
        return await self._do("known_queues", self.store.known_queues)

    async def lookup(self, ids: Sequence[str]) -> dict[str, Record]:
        return await self._do("lookup", lambda: self.store.lookup(ids))

    def lookup_sync(self, ids: Sequence[str]) -> dict[str, Record]:
        return self._do_sync("lookup_sync", lambda: self.store.lookup_sync(ids))

    async def browse(
        self, queue: str, state: State, *, limit: int, cursor: str | None = None
    ) -> tuple[list[Record], str | None]:
        return await self._do(
            "browse", lambda: self.store.browse(queue, state, limit=limit, cursor=cursor)
        )

    async def requeue(self, ids: Sequence[str]) -> int:
        return await self._do("requeue", lambda: self.store.requeue(ids))

    async def purge(self, queue: str, state: State, *, before: float | None = None) -> int:
        return await self._do("purge", lambda: self.store.purge(queue, state, before=before))

    async def prune(self, limit: int) -> int:
        return await self._do("prune", lambda: self.store.prune(limit))

    async def cancel(self, ids: Sequence[str]) -> Cancellation:
        return await self._do("cancel", lambda: self.store.cancel(ids))

    def cancel_sync(self, ids: Sequence[str]) -> Cancellation:
        return self._do_sync("cancel_sync", lambda: self.store.cancel_sync(ids))

    def cancelled(self, claims: Sequence[Claim]) -> list[Claim]:
        return self._do_sync("cancelled", lambda: self.store.cancelled(claims))

    async def pause(self, queue: str, until: float | None = None) -> None:
        await self._do("pause", lambda: self.store.pause(queue, until))

    async def resume(self, queue: str) -> bool:
        return await self._do("resume", lambda: self.store.resume(queue))

    async def pause_task(self, task: str, until: float | None = None) -> None:
        await self._do("pause_task", lambda: self.store.pause_task(task, until))

    async def resume_task(self, task: str) -> bool:
        return await self._do("resume_task", lambda: self.store.resume_task(task))

    async def paused(self) -> Paused:
        return await self._do("paused", self.store.paused)

    async def paused_tasks(self) -> set[str]:
        return await self._do("paused_tasks", self.store.paused_tasks)

    async def open_group(self, group: NewGroup, messages: Sequence[Message]) -> Opened:
        return await self._do("open_group", lambda: self.store.open_group(group, messages))

    def open_group_sync(self, group: NewGroup, messages: Sequence[Message]) -> Opened:
        return self._do_sync("open_group_sync", lambda: self.store.open_group_sync(group, messages))

    async def mark_members(
        self, marks: Sequence[Mark], *, waiting_only: bool = False
    ) -> list[GroupRecord]:
        return await self._do(
            "mark_members", lambda: self.store.mark_members(marks, waiting_only=waiting_only)
        )

    async def close_groups(self, ids: Sequence[str]) -> None:
        await self._do("close_groups", lambda: self.store.close_groups(ids))

    async def find_group(self, id: str, *, members: bool = False) -> GroupRecord | None:
        return await self._do("find_group", lambda: self.store.find_group(id, members=members))

    def find_group_sync(self, id: str, *, members: bool = False) -> GroupRecord | None:
        return self._do_sync(
            "find_group_sync", lambda: self.store.find_group_sync(id, members=members)
        )

    async def sweep_groups(self, limit: int, *, patience: float) -> list[GroupRecord]:
        return await self._do(
            "sweep_groups", lambda: self.store.sweep_groups(limit, patience=patience)
        )
