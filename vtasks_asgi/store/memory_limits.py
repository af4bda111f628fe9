"""The reference store's limits: who may start, and who is let go next."""

from vtasks_asgi.core.clock import Clock
from vtasks_asgi.core.limits import HELD, Gate, Gates, Limit
from vtasks_asgi.store.base import State
from vtasks_asgi.store.memory_control import MemoryControl
from vtasks_asgi.store.memory_inspect import Entry


class MemoryLimits(MemoryControl):
    """See ``store.base``. A key's pace is kept for ever, for nothing here outlives the process."""

    def __init__(self, clock: Clock, dead_letter_cap: int) -> None:
        super().__init__(clock, dead_letter_cap)
        self._tats: dict[tuple[str, str], float] = {}

    def _gates(self, queue: str, now: float) -> Gates:
        return Gates(lambda key: self._gate(queue, key, now))

    def _gate(self, queue: str, key: str, now: float) -> Gate:
        running = sum(e.record.state is State.RUNNING for e in self._with_key(queue, key))
        return Gate(now, running, self._tats.get((queue, key), 0.0))

    def _pass(self, queue: str, gates: Gates, now: float) -> bool:
        """The claim has handed out what it could: put the rest aside; was there any?"""
        for key in gates.keys:
            self._tats[queue, key] = gates.passed[key].tat
        for limit in gates.denied:
            self._put_aside(queue, limit, gates.passed[limit.key].due(limit))
        for key in gates.keys:
            self._let_go(queue, key, now)
        return bool(gates.denied)

    def _put_aside(self, queue: str, limit: Limit, due: float) -> None:
        """Those with a date included, so that the best of all get the next ones."""
        for entry in self._with_key(queue, limit.key):
            if entry.limit == limit and _comes_up(entry, due):
                entry.record.state, entry.record.run_at = State.DELAYED, HELD

    def _let_go(self, queue: str, key: str, now: float) -> None:
        """Give those that wait for this key dates, as many as there should be."""
        entries = self._with_key(queue, key)
        waiting = sorted(filter(is_held, entries), key=by_priority)
        if not waiting or (limit := waiting[0].limit) is None:
            return
        gate = self._gate(queue, key, now)
        due = gate.due(limit)
        ahead = sum(_comes_up(entry, due) for entry in entries)
        for entry in waiting[: max(0, gate.wanted(limit) - ahead)]:
            entry.record.run_at = due
            entry.record.state = State.DELAYED if due > now else State.READY
            self._ring(queue)

    def _sweep(self, queue: str, now: float) -> None:
        """``_let_go`` wherever messages wait: others may have gone that should have done it."""
        waiting = [e for e in self._of(queue, State.DELAYED) if is_held(e)]
        for key in sorted({entry.limit.key for entry in waiting if entry.limit}):
            self._let_go(queue, key, now)

    def _with_key(self, queue: str, key: str) -> list[Entry]:
        every = self._entries.values()
        of_queue = (entry for entry in every if entry.record.queue == queue)
        return [entry for entry in of_queue if entry.limit and entry.limit.key == key]


def by_priority(entry: Entry) -> tuple[int, int]:
    """The order in which messages start."""
    return -entry.record.priority, entry.seq


def is_held(entry: Entry) -> bool:
    """Does it wait without a date?"""
    return entry.record.state is State.DELAYED and (entry.record.run_at or 0.0) >= HELD


def _comes_up(entry: Entry, due: float) -> bool:
    """Is it ready, or due by then?"""
    record = entry.record
    return record.state is State.READY or (
        record.state is State.DELAYED and (record.run_at or 0.0) <= due
    )
