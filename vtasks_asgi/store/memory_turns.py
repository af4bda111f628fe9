"""Whose turn it is in the reference store: the specification of fair share between keys."""

from collections import deque
from collections.abc import Sequence

from vtasks_asgi.core.line import KEYLESS
from vtasks_asgi.store.memory_inspect import Entry


class Turns:
    """The line that had the last turn, in each priority of a queue."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], int] = {}

    def take(self, queue: str, ready: Sequence[Entry], limit: int) -> list[Entry]:
        """The best ``limit`` of one queue's ready messages, given in the order of pushing."""
        by_priority = sorted(ready, key=lambda entry: -entry.record.priority)
        if all(entry.line is None for entry in ready):
            return by_priority[:limit]
        bands: dict[int, dict[int, deque[Entry]]] = {}
        for entry in by_priority:
            lines = bands.setdefault(entry.record.priority, {})
            lines.setdefault(KEYLESS if entry.line is None else entry.line, deque()).append(entry)
        taken: list[Entry] = []
        for priority, lines in bands.items():
            while lines and len(taken) < limit:
                taken.append(self._next(queue, priority, lines))
        return taken

    def _next(self, queue: str, priority: int, lines: dict[int, deque[Entry]]) -> Entry:
        """The first of the line after the one whose turn it was; after the last comes the first."""
        last = self._last.get((queue, priority), KEYLESS)
        line = min((line for line in lines if line > last), default=min(lines))
        self._last[queue, priority] = line
        first = lines[line].popleft()
        if not lines[line]:
            del lines[line]
        return first
