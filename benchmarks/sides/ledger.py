"""Counts executions outside the queue: what the task functions themselves saw."""

import asyncio
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: What a forked child tells of one execution; short enough to be written in one piece.
WORD = struct.Struct("q")


class Ledger:
    """Count, sum and sum of squares of the numbers executed, in any thread.

    Tasks carry 0, 1, 2 …; the three together give away a task lost as well as one run twice.
    """

    def __init__(self) -> None:
        self.executed = 0
        self.total = 0
        self.squares = 0
        self.first = 0.0
        self.last = 0.0
        self._target = -1
        self._done: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._parent: int | None = None

    def add(self, number: int) -> None:
        if self._parent is not None:
            os.write(self._parent, WORD.pack(number))
            return
        with self._lock:
            self.last = time.perf_counter()
            if not self.executed:
                self.first = self.last
            self.executed += 1
            self.total += number
            self.squares += number * number
            if self.executed == self._target and self._done and self._loop:
                self._loop.call_soon_threadsafe(self._done.set)

    def reaches(self, count: int) -> asyncio.Event:
        """An event set by the task that makes the count; ask before the worker starts."""
        self._target = count
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        return self._done

    def counts(self) -> dict[str, Any]:
        return {"executed": self.executed, "total": self.total, "squares": self.squares}

    @contextmanager
    def counting_forks(self) -> Iterator[None]:
        """What processes forked meanwhile execute is counted here."""
        source, sink = os.pipe()

        def listen() -> None:
            with os.fdopen(source, "rb") as words:
                while word := words.read(WORD.size):
                    self.add(WORD.unpack(word)[0])

        def tell() -> None:
            self._parent = sink

        os.register_at_fork(after_in_child=tell)
        listener = threading.Thread(target=listen)
        listener.start()
        try:
            yield
        finally:
            os.close(sink)
            listener.join()


ledger = Ledger()

#: Nanoseconds from before the enqueue to the first line of the task; see ``tasks.stamp``.
arrivals: list[int] = []
