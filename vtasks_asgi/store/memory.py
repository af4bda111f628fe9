"""The reference store: the contract in dicts, for tests and as the specification.

One lock makes every verb atomic; nothing survives the process.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from secrets import token_hex

from vtasks_asgi.core.clock import Clock, SystemClock
from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.outcome import Dead, Done, Release, Retry
from vtasks_asgi.store.base import (
    Claim,
    Claimed,
    QueueStats,
    Receipt,
    Record,
    Settled,
    Settlement,
    State,
    Ticks,
)


@dataclass(slots=True)
class _Entry:
    record: Record
    seq: int
    since: float
    token: str | None = None
    lease_until: float = 0.0
    expires_at: float | None = None


class MemoryStore:
    """See ``store.base``. ``dead_letter_cap`` is per queue."""

    def __init__(self, *, clock: Clock | None = None, dead_letter_cap: int = 1000) -> None:
        self._clock = clock or SystemClock()
        self._cap = dead_letter_cap
        self._lock = threading.RLock()
        self._entries: dict[str, _Entry] = {}
        self._ticks: dict[str, float] = {}
        self._seq = 0
        self._opened = False
        self._waiters: set[Callable[[], None]] = set()

    async def open(self) -> None:
        self._opened = True

    async def aclose(self) -> None:
        self._opened = False

    # -- producing

    async def push(self, messages: Sequence[Message]) -> list[Receipt]:
        return self.push_sync(messages)

    def push_sync(self, messages: Sequence[Message]) -> list[Receipt]:
        self._check_open()
        with self._lock:
            receipts = [Receipt(m.id, self._store(m)) for m in messages]
        self._ring()
        return receipts

    async def ticks(self, schedules: Sequence[str]) -> Ticks:
        self._check_open()
        with self._lock:
            last = {name: self._ticks[name] for name in schedules if name in self._ticks}
            return Ticks(self._clock.now(), last)

    async def push_tick(self, schedule: str, at: float, message: Message | None) -> bool:
        self._check_open()
        with self._lock:
            last = self._ticks.get(schedule)
            if last is not None and at <= last:
                return False
            self._ticks[schedule] = at
            if message is not None:
                self._store(message)
        self._ring()
        return True

    def _store(self, message: Message) -> bool:
        if message.id in self._entries:
            return False
        now = self._clock.now()
        delayed = message.run_at is not None and message.run_at > now
        record = Record(
            message.id,
            message.queue,
            State.DELAYED if delayed else State.READY,
            message.body,
            message.priority,
            message.run_at,
        )
        self._seq += 1
        self._entries[message.id] = _Entry(record, self._seq, since=now)
        return True

    # -- consuming

    async def claim(self, queue: str, limit: int, *, worker: str, lease: float) -> Claimed:
        self._check_open()
        with self._lock:
            now = self._clock.now()
            self._promote(queue, now)
            ready = sorted(
                self._of(queue, State.READY), key=lambda e: (-e.record.priority, e.seq)
            )
            claims = [self._take(entry, worker, now + lease) for entry in ready[:limit]]
            for claim in claims:
                claim.attempt += 1
                self._entries[claim.id].record.attempt += 1
            due = [e.record.run_at or 0.0 for e in self._of(queue, State.DELAYED)]
            return Claimed(claims, max(0.0, min(due) - now) if due else None)

    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        self._check_open()
        with self._lock:
            lost = []
            for claim in claims:
                if entry := self._held(claim):
                    entry.lease_until = self._clock.now() + lease
                else:
                    lost.append(claim)
            return lost

    async def settle(self, settlements: Sequence[Settlement]) -> Settled:
        self._check_open()
        settled = Settled()
        with self._lock:
            for settlement in settlements:
                if entry := self._held(settlement.claim):
                    self._apply(entry, settlement)
                else:
                    settled.lost.append(settlement.claim)
            for queue in {s.claim.queue for s in settlements if isinstance(s.outcome, Dead)}:
                if evicted := self._evict(queue):
                    settled.evicted[queue] = evicted
        self._ring()
        return settled

    async def reclaim(self, queue: str, limit: int, *, worker: str, lease: float) -> list[Claim]:
        self._check_open()
        with self._lock:
            now = self._clock.now()
            expired = [e for e in self._of(queue, State.RUNNING) if e.lease_until <= now]
            expired.sort(key=lambda e: e.lease_until)
            claims = []
            for entry in expired[:limit]:
                held = entry.record
                held.crashes += 1
                lost = (held.worker, held.started_at)
                claim = self._take(entry, worker, now + lease)
                claim.lost_worker, claim.lost_at = lost
                claims.append(claim)
            return claims

    async def wait(self, queues: Sequence[str], timeout: float) -> None:
        loop = asyncio.get_running_loop()
        rung = asyncio.Event()

        def waker() -> None:
            loop.call_soon_threadsafe(rung.set)

        self._waiters.add(waker)
        try:
            async with asyncio.timeout(timeout):
                await rung.wait()
        except TimeoutError:
            pass
        finally:
            self._waiters.discard(waker)

    def _promote(self, queue: str, now: float) -> None:
        for entry in self._of(queue, State.DELAYED):
            if (entry.record.run_at or 0.0) <= now:
                entry.record.state = State.READY

    def _take(self, entry: _Entry, worker: str, lease_until: float) -> Claim:
        record = entry.record
        record.state, record.worker, record.started_at = State.RUNNING, worker, self._clock.now()
        entry.token, entry.lease_until = token_hex(8), lease_until
        return Claim(
            record.id,
            record.queue,
            record.body,
            record.priority,
            entry.token,
            record.attempt,
            record.crashes,
            record.history,
        )

    def _held(self, claim: Claim) -> _Entry | None:
        entry = self._entries.get(claim.id)
        return entry if entry and entry.token == claim.token else None

    def _apply(self, entry: _Entry, settlement: Settlement) -> None:
        record, outcome, now = entry.record, settlement.outcome, self._clock.now()
        entry.token, record.worker, record.started_at = None, None, None
        if isinstance(outcome, Release | Retry):
            if isinstance(outcome, Retry):
                record.history = outcome.history
            else:
                record.attempt -= 1
            record.run_at = now + outcome.delay if outcome.delay > 0 else None
            record.state = State.DELAYED if outcome.delay > 0 else State.READY
            return
        record.history, record.finished_at, entry.since = outcome.history, now, now
        if isinstance(outcome, Dead):
            record.state, record.reason = State.DEAD, outcome.reason
        elif outcome.ttl > 0:
            record.state, record.value = State.DONE, outcome.value
            entry.expires_at = now + outcome.ttl
        else:
            del self._entries[record.id]

    def _evict(self, queue: str) -> int:
        dead = sorted(self._of(queue, State.DEAD), key=lambda e: (e.since, e.seq))
        surplus = dead[: max(0, len(dead) - self._cap)]
        for entry in surplus:
            del self._entries[entry.record.id]
        return len(surplus)

    # -- inspecting

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        self._check_open()
        with self._lock:
            now = self._clock.now()
            result = {queue: QueueStats() for queue in queues}
            for entry in self._entries.values():
                stats = result.get(entry.record.queue)
                if stats is None or entry.record.state is State.DONE:
                    continue
                state = entry.record.state.value
                setattr(stats, state, getattr(stats, state) + 1)
                if entry.record.state is State.READY:
                    age = now - max(entry.since, entry.record.run_at or 0.0)
                    stats.oldest_ready = max(age, stats.oldest_ready or 0.0)
            return result

    async def lookup(self, ids: Sequence[str]) -> dict[str, Record]:
        return self.lookup_sync(ids)

    def lookup_sync(self, ids: Sequence[str]) -> dict[str, Record]:
        self._check_open()
        with self._lock:
            now = self._clock.now()
            found = ((id, self._entries.get(id)) for id in ids)
            return {id: _copy(e) for id, e in found if e and (e.expires_at or now + 1) > now}

    async def browse(
        self, queue: str, state: State, *, limit: int, cursor: str | None = None
    ) -> tuple[list[Record], str | None]:
        self._check_open()
        with self._lock:
            after = int(cursor) if cursor else 0
            page = sorted(
                (e for e in self._of(queue, state) if e.seq > after), key=lambda e: e.seq
            )
            more = len(page) > limit
            return [_copy(e) for e in page[:limit]], str(page[limit - 1].seq) if more else None

    async def requeue(self, ids: Sequence[str]) -> int:
        self._check_open()
        count = 0
        with self._lock:
            for id in ids:
                entry = self._entries.get(id)
                if entry is None or entry.record.state is not State.DEAD:
                    continue
                old = entry.record
                entry.record = Record(id, old.queue, State.READY, old.body, old.priority)
                self._seq += 1
                entry.seq, entry.since = self._seq, self._clock.now()
                count += 1
        self._ring()
        return count

    async def purge(self, queue: str, state: State, *, before: float | None = None) -> int:
        self._check_open()
        if state is State.RUNNING:
            raise ValueError("running messages cannot be purged")
        with self._lock:
            old = [e for e in self._of(queue, state) if before is None or e.since < before]
            return self._delete(old)

    async def prune(self, limit: int) -> int:
        self._check_open()
        with self._lock:
            now = self._clock.now()
            old = [e for e in self._entries.values() if e.expires_at and e.expires_at <= now]
            return self._delete(old[:limit])

    # -- helpers

    def _of(self, queue: str, state: State) -> list[_Entry]:
        return [
            e
            for e in self._entries.values()
            if e.record.queue == queue and e.record.state is state
        ]

    def _delete(self, entries: Iterable[_Entry]) -> int:
        count = 0
        for entry in entries:
            del self._entries[entry.record.id]
            count += 1
        return count

    def _check_open(self) -> None:
        if not self._opened:
            raise StoreUnavailable("the store is not open")

    def _ring(self) -> None:
        for waker in list(self._waiters):
            waker()


def _copy(entry: _Entry) -> Record:
    r = entry.record
    return Record(**{name: getattr(r, name) for name in Record.__slots__})
