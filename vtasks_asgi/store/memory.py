"""The reference store: the contract in dicts, for tests and as the specification.

One lock makes every verb atomic; nothing survives the process. What onlookers ask is answered in
``store.memory_inspect``, what operators do in ``store.memory_control``, limits are in
``store.memory_limits``, groups in ``store.memory_groups``.
"""

import asyncio
import copy
from collections.abc import Callable, Sequence
from secrets import token_hex

from vtasks_asgi.core.clock import Clock, SystemClock
from vtasks_asgi.core.limits import HELD
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.outcome import CANCELLED, Dead, Release, Retry
from vtasks_asgi.store.base import (
    Claim,
    Claimed,
    Receipt,
    Record,
    Settled,
    Settlement,
    State,
    Ticked,
    Ticks,
    limited,
)
from vtasks_asgi.store.memory_groups import MemoryGroups
from vtasks_asgi.store.memory_inspect import Entry, Lock, in_force
from vtasks_asgi.store.memory_limits import MemoryLimits
from vtasks_asgi.store.memory_turns import Turns


class MemoryStore(MemoryGroups, MemoryLimits):
    """See ``store.base``. ``dead_letter_cap`` is per queue; ``clock`` the system's by default."""

    def __init__(self, *, clock: Clock | None = None, dead_letter_cap: int = 1000) -> None:
        super().__init__(clock or SystemClock(), dead_letter_cap)
        self._ticks: dict[str, float] = {}
        self._heard: dict[str, int] = {}
        self._turns = Turns()
        self._waiters: dict[asyncio.Event, tuple[frozenset[str], Callable[[], object]]] = {}

    def twin(self) -> "MemoryStore":
        """Another store on the same memory, as another process would have it; not yet open."""
        twin = copy.copy(self)
        twin._opened, twin._heard, twin._turns = False, {}, Turns()
        return twin

    async def open(self) -> None:
        self._opened = True

    async def aclose(self) -> None:
        self._opened = False

    # -- producing

    async def push(self, messages: Sequence[Message]) -> list[Receipt]:
        return self.push_sync(messages)

    def push_sync(self, messages: Sequence[Message]) -> list[Receipt]:
        with self._work() as now:
            return [self._store(message, now) for message in messages]

    async def ticks(self, schedules: Sequence[str]) -> Ticks:
        with self._work() as now:
            return Ticks(
                now, {name: self._ticks[name] for name in schedules if name in self._ticks}
            )

    async def push_tick(self, schedule: str, at: float, message: Message | None) -> Ticked:
        with self._work() as now:
            last = self._ticks.get(schedule)
            if last is not None and at <= last:
                return Ticked.LATE
            self._ticks[schedule] = at
            if message is None or self._store(message, now).holder:
                return Ticked.SKIPPED
            return Ticked.FIRED

    def _store(self, message: Message, now: float) -> Receipt:
        if message.id in self._entries:
            return Receipt(message.id, False)
        until = now + (message.keep_unique or 0.0)
        holder = self._take_key(message.queue, message.unique, message.id, until=until, now=now)
        if holder is not None:
            if message.debounce is None:
                return Receipt(message.id, False, holder)
            if self._merge(holder, message, now):
                return Receipt(message.id, False, holder, merged=True)
            assert message.unique is not None
            self._locks[message.queue, message.unique] = Lock(message.id, until)
        run_at = message.due(now, held=holder is not None)
        delayed = run_at is not None and run_at > now
        record = Record(
            message.id,
            message.queue,
            State.DELAYED if delayed else State.READY,
            message.body,
            message.priority,
            run_at,
        )
        seq = next(self._seqs)
        self._entries[message.id] = Entry(
            record, seq, now, unique=message.unique, limit=message.limit, line=message.line
        )
        self._ring(message.queue)
        return Receipt(message.id)

    def _merge(self, holder: str, message: Message, now: float) -> bool:
        """Let the holder of a key take this message's body, if it has not been started."""
        entry, due = self._entries.get(holder), message.due(now)
        if entry is None or entry.record.attempt or entry.record.state not in _WAITING:
            return False
        entry.record.body = message.body
        if not message.leads or entry.record.run_at is not None:
            if message.debounce_max is not None and due is not None:
                due = min(due, entry.since + message.debounce_max)
            entry.record.run_at, entry.record.state = due, State.DELAYED
        self._ring(message.queue)
        return True

    # -- consuming

    async def claim(self, queue: str, limit: int, *, worker: str, lease: float) -> Claimed:
        with self._work() as now:
            self._heard[queue] = self._rings[queue]
            for entry in self._of(queue, State.DELAYED):
                if (entry.record.run_at or 0.0) <= now:
                    entry.record.state = State.READY
            pause = in_force(self._paused.queues, now)
            ready = [] if queue in pause else self._of(queue, State.READY)
            claims, gates = [], self._gates(queue, now)
            for entry in self._turns.take(queue, ready, max(0, limit)):
                if entry.limit is None or gates.admit(entry.limit):
                    entry.record.attempt += 1
                    claims.append(hand_out(entry, worker, now, lease))
            due = [now] if self._pass(queue, gates, now) else []
            due += [entry.record.run_at or 0.0 for entry in self._of(queue, State.DELAYED)]
            due += [until for name, until in pause.items() if name == queue and until is not None]
            next_due = min(due, default=HELD)
            return Claimed(claims, next_due - now if next_due < HELD else None)

    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        with self._work() as now:
            lost = []
            for claim in claims:
                if entry := self._held(claim):
                    entry.lease_until = now + lease
                else:
                    lost.append(claim)
            return lost

    async def settle(self, settlements: Sequence[Settlement]) -> Settled:
        return self.settle_sync(settlements)

    def settle_sync(self, settlements: Sequence[Settlement]) -> Settled:
        settled = Settled()
        with self._work() as now:
            for settlement in settlements:
                if entry := self._held(settlement.claim):
                    self._apply(entry, settlement, now)
                    if isinstance(settlement.outcome, Release | Retry) and entry.record.reason:
                        settled.cancelled.append(settlement.claim)
                else:
                    settled.lost.append(settlement.claim)
            for queue, key in limited(settlements):
                self._let_go(queue, key, now)
            buried = {s.claim.queue for s in settlements if isinstance(s.outcome, Dead)}
            for queue in buried | {claim.queue for claim in settled.cancelled}:
                if evicted := self._evict(queue):
                    settled.evicted[queue] = evicted
        return settled

    async def save(self, claim: Claim) -> bool:
        with self._work():
            entry = self._held(claim)
            if entry is not None:
                entry.record.note = claim.note
            return entry is not None

    async def reclaim(self, queue: str, limit: int, *, worker: str, lease: float) -> list[Claim]:
        with self._work() as now:
            self._sweep(queue, now)
            expired = [e for e in self._of(queue, State.RUNNING) if e.lease_until <= now]
            expired.sort(key=lambda entry: entry.lease_until)
            claims = []
            for entry in expired[: max(0, limit)]:
                entry.record.crashes += 1
                lost = entry.record.worker, entry.record.started_at
                claim = hand_out(entry, worker, now, lease)
                claim.lost_worker, claim.lost_at = lost
                claim.cancelled = entry.cancelled
                claims.append(claim)
            return claims

    async def wait(self, queues: Sequence[str], timeout: float) -> None:
        rung, loop = asyncio.Event(), asyncio.get_running_loop()
        with self._work():
            if any(self._rings[queue] != self._heard.get(queue, 0) for queue in queues):
                rung.set()
            wake = (frozenset(queues), lambda: loop.call_soon_threadsafe(rung.set))
            self._waiters[rung] = wake
        try:
            async with asyncio.timeout(timeout):
                await asyncio.sleep(0)  # a full turn for the others, also when it rang before
                await rung.wait()
        except TimeoutError:
            pass
        finally:
            self._waiters.pop(rung)

    def _ring(self, queue: str) -> None:
        self._rings[queue] += 1
        for queues, wake in list(self._waiters.values()):
            if queue in queues:
                wake()

    def _apply(self, entry: Entry, settlement: Settlement, now: float) -> None:
        record, outcome = entry.record, settlement.outcome
        entry.token, record.worker, record.started_at = None, None, None
        record.note = settlement.claim.note
        if isinstance(outcome, Release | Retry):
            if isinstance(outcome, Retry):
                record.history = outcome.history
            elif settlement.claim.lost_worker is None:
                record.attempt -= 1
            if entry.cancelled:
                self._bury(entry, CANCELLED, now)
                return
            record.run_at = now + outcome.delay
            record.state = State.DELAYED if outcome.delay > 0 else State.READY
            self._ring(record.queue)
            return
        record.history = outcome.history
        if isinstance(outcome, Dead):
            self._bury(entry, outcome.reason, now)
        elif outcome.ttl > 0:
            record.state, record.value = State.DONE, outcome.value
            entry.expires_at = now + outcome.ttl
            self._finish(entry, now)
        else:
            self._let_key_go(entry, now)
            del self._entries[record.id]


_WAITING = (State.READY, State.DELAYED)


def hand_out(entry: Entry, worker: str, now: float, lease: float) -> Claim:
    """Put a message into a worker's hands."""
    record = entry.record
    record.state, record.worker, record.started_at = State.RUNNING, worker, now
    entry.token, entry.lease_until = token_hex(8), now + lease
    return Claim(
        record.id,
        record.queue,
        record.body,
        record.priority,
        entry.token,
        record.attempt,
        record.crashes,
        record.history,
        record.run_at,
        unique=entry.unique,
        note=record.note,
        limit=entry.limit,
    )
