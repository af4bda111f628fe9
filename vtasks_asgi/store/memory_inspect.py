"""The reference store's memory, and what onlookers ask of it."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count

from vtasks_asgi.core.clock import Clock
from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.limits import HELD, Limit
from vtasks_asgi.store.base import QueueStats, Record, State
from vtasks_asgi.store.control import Paused
from vtasks_asgi.store.inspector import cursor_position


@dataclass(slots=True)
class Entry:
    """A record, and what only the store knows about it.

    ``seq`` orders pushes, and for finished messages their ends. ``since`` is the time of the push,
    or of the end. ``lease_until`` counts while there is a ``token``. ``unique`` is its key.
    ``cancelled`` is a mark on one that runs. What its ``limit`` holds back is due at ``HELD``.
    ``line`` is the line it waits in.
    """

    record: Record
    seq: int
    since: float
    token: str | None = None
    lease_until: float = 0.0
    expires_at: float | None = None
    unique: str | None = None
    cancelled: bool = False
    limit: Limit | None = None
    line: int | None = None


@dataclass(slots=True)
class Lock:
    """Who took a unique key last; held while that message lives, and before ``until``."""

    id: str
    until: float


class MemoryInspector:
    """See ``store.base``."""

    def __init__(self, clock: Clock, dead_letter_cap: int) -> None:
        self._clock = clock
        self._cap = dead_letter_cap
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._locks: dict[tuple[str, str], Lock] = {}
        self._rings: Counter[str] = Counter()
        self._paused = Paused()
        self._seqs = count(1)
        self._opened = False

    @contextmanager
    def _work(self) -> Iterator[float]:
        """One atomic step; gives the time at which all of it happens."""
        if not self._opened:
            raise StoreUnavailable("the store is not open")
        with self._lock:
            yield self._clock.now()

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        with self._work() as now:
            return {queue: self._stats(queue, now) for queue in queues}

    def _stats(self, queue: str, now: float) -> QueueStats:
        stats = QueueStats(
            running=len(self._of(queue, State.RUNNING)),
            dead=len(self._of(queue, State.DEAD)),
            paused=queue in in_force(self._paused.queues, now),
        )
        for entry in self._of(queue, State.READY) + self._of(queue, State.DELAYED):
            since = max(entry.since, entry.record.run_at or 0.0)
            if since > now:
                stats.delayed += 1
            else:
                stats.ready += 1
                stats.oldest_ready = max(now - since, stats.oldest_ready or 0.0)
        return stats

    async def known_queues(self) -> list[str]:
        return sorted(self.queues())

    def queues(self) -> set[str]:
        """Every queue that holds a message."""
        with self._work():
            return {entry.record.queue for entry in self._entries.values()}

    async def lookup(self, ids: Sequence[str]) -> dict[str, Record]:
        return self.lookup_sync(ids)

    def lookup_sync(self, ids: Sequence[str]) -> dict[str, Record]:
        with self._work() as now:
            found = {id: self._entries[id] for id in ids if id in self._entries}
            return {id: _shown(e) for id, e in found.items() if not _expired(e, now)}

    async def browse(
        self, queue: str, state: State, *, limit: int, cursor: str | None = None
    ) -> tuple[list[Record], str | None]:
        if limit < 1:
            raise ValueError("limit must be at least 1")
        after = cursor_position(cursor)
        with self._work() as now:
            rest = [e for e in self._of(queue, state) if e.seq > after and not _expired(e, now)]
            page = rest[:limit]
            more = len(rest) > limit
            return [_shown(e) for e in page], str(page[-1].seq) if more else None

    async def requeue(self, ids: Sequence[str]) -> int:
        requeued = 0
        with self._work() as now:
            for id in ids:
                entry = self._entries.get(id)
                if entry is None or entry.record.state is not State.DEAD:
                    continue
                old, key = entry.record, entry.unique
                if self._take_key(old.queue, key, id, until=now, now=now):
                    continue
                record = Record(id, old.queue, State.READY, old.body, old.priority, note=old.note)
                seq, limit, line = next(self._seqs), entry.limit, entry.line
                self._entries[id] = Entry(
                    record, seq, since=now, unique=key, limit=limit, line=line
                )
                self._ring(old.queue)
                requeued += 1
        return requeued

    async def purge(self, queue: str, state: State, *, before: float | None = None) -> int:
        if state is State.RUNNING:
            raise ValueError("running messages cannot be purged")
        with self._work():
            every = self._of(queue, state)
            return self._delete([e for e in every if before is None or e.since < before])

    async def prune(self, limit: int) -> int:
        with self._work() as now:
            expired = [e for e in self._entries.values() if _expired(e, now)]
            return self._delete(expired[: max(0, limit)])

    # -- helpers

    def _take_key(
        self, queue: str, key: str | None, id: str, *, until: float, now: float
    ) -> str | None:
        """Take a unique key for ``id``; who holds it, if somebody else does."""
        if key is None:
            return None
        lock = self._locks.get((queue, key))
        if lock is not None and lock.id != id:
            holder = self._entries.get(lock.id)
            lives = holder and holder.record.state in LIVE and holder.unique == key
            if lock.until > now or lives:
                return lock.id
        self._locks[queue, key] = Lock(id, until)
        return None

    def _let_key_go(self, entry: Entry, now: float) -> None:
        """The message has ended: forget its key unless it is kept, or somebody else's by now."""
        key = (entry.record.queue, entry.unique or "")
        lock = self._locks.get(key)
        if lock is not None and lock.id == entry.record.id and lock.until <= now:
            del self._locks[key]

    def _of(self, queue: str, state: State) -> list[Entry]:
        """Those of one queue and state, in the order of their ``seq``."""
        every = self._entries.values()
        found = [e for e in every if e.record.queue == queue and e.record.state is state]
        return sorted(found, key=lambda entry: entry.seq)

    def _delete(self, entries: Sequence[Entry]) -> int:
        for entry in entries:
            del self._entries[entry.record.id]
        return len(entries)

    def _ring(self, queue: str) -> None:
        raise NotImplementedError


def in_force(pauses: dict[str, float | None], now: float) -> dict[str, float | None]:
    """Those that have not ended by themselves."""
    return {name: until for name, until in pauses.items() if until is None or until > now}


LIVE = (State.READY, State.DELAYED, State.RUNNING)


def _shown(entry: Entry) -> Record:
    record = replace(entry.record)
    if record.run_at is not None and record.run_at >= HELD:
        record.run_at = None
    return record


def _expired(entry: Entry, now: float) -> bool:
    return entry.expires_at is not None and entry.expires_at <= now
