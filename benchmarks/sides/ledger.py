"""Counts executions outside the queue: what the task functions themselves saw."""

import asyncio
import time
from typing import Any


class Ledger:
    """Count, sum and sum of squares of the numbers executed.

    Tasks carry 0, 1, 2 …; the three together give away a task lost as well as one run twice.
    """

    __slots__ = ("_done", "_target", "executed", "first", "last", "squares", "total")

    def __init__(self) -> None:
        self.executed = 0
        self.total = 0
        self.squares = 0
        self.first = 0.0
        self.last = 0.0
        self._target = -1
        self._done: asyncio.Event | None = None

    def add(self, number: int) -> None:
        self.last = time.perf_counter()
        if not self.executed:
            self.first = self.last
        self.executed += 1
        self.total += number
        self.squares += number * number
        if self.executed == self._target and self._done is not None:
            self._done.set()

    def reaches(self, count: int) -> asyncio.Event:
        """An event set by the task that makes the count; ask before the worker starts."""
        self._target = count
        self._done = asyncio.Event()
        return self._done

    def counts(self) -> dict[str, Any]:
        return {"executed": self.executed, "total": self.total, "squares": self.squares}


ledger = Ledger()

#: Nanoseconds from before the enqueue to the first line of the task; see ``tasks.stamp``.
arrivals: list[int] = []
