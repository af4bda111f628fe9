"""Tells waiting workers to look again: at once for this process, soon for the others.

Within the process a push rings directly. Other processes are noticed through SQLite's
``PRAGMA data_version``, which changes whenever another connection has committed.
"""

import asyncio
import sqlite3
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.store.database.sqlite.connections import connect

#: Seconds between two looks at the database file while somebody waits.
WATCH_EVERY = 0.02


@dataclass(slots=True)
class _Listener:
    queues: frozenset[str]
    loop: asyncio.AbstractEventLoop
    event: asyncio.Event


class Doorbell:
    """``listen`` before looking, ``wait`` if nothing was found: no ring in between is missed."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._rings_for_all = 0
        self._rings: Counter[str] = Counter()
        self._listeners: list[_Listener] = []
        self._somebody = threading.Event()
        self._closed = False
        self._watcher: threading.Thread | None = None

    def ring(self, queues: Collection[str] | None = None) -> None:
        """Wake those who wait for one of these queues, or everybody; from any thread."""
        if queues is None:
            self._rings_for_all += 1
        else:
            self._rings.update(queues)
        for listener in list(self._listeners):
            if queues is None or not listener.queues.isdisjoint(queues):
                with suppress(RuntimeError):  # its loop is closed
                    listener.loop.call_soon_threadsafe(listener.event.set)

    def listen(self, queue: str) -> int:
        """A number that changes with every ring for the queue."""
        return self._rings_for_all + self._rings[queue]

    async def wait(self, heard: Mapping[str, int], timeout: float) -> None:
        """Return when it rings for one of these queues, or after ``timeout`` seconds.

        ``heard`` is what ``listen`` said for each of them before the caller looked; had it rung
        since then, this returns at once.
        """
        event = asyncio.Event()
        listener = _Listener(frozenset(heard), asyncio.get_running_loop(), event)
        self._listeners.append(listener)
        self._somebody.set()
        try:
            if all(self.listen(queue) == number for queue, number in heard.items()):
                async with asyncio.timeout(timeout):
                    await event.wait()
        except TimeoutError:
            pass
        finally:
            self._listeners.remove(listener)
            if not self._listeners:
                self._somebody.clear()

    def start(self) -> None:
        """Begin to watch for other processes' commits."""
        self._closed = False
        self._watcher = threading.Thread(
            target=self._watch, name=f"vtasks-watch-{self._alias}", daemon=True
        )
        self._watcher.start()

    def close(self) -> None:
        """Stop watching; blocks for a moment."""
        self._closed = True
        self._somebody.set()
        if self._watcher:
            self._watcher.join(timeout=5)

    def _watch(self) -> None:
        try:
            conn = connect(self._alias)
        except StoreError:
            return  # polling remains; the store's own open reports the reason
        pause = threading.Event()
        seen = -1
        while not self._closed:
            self._somebody.wait()
            try:
                (version,) = conn.execute("PRAGMA data_version").fetchone()
            except sqlite3.Error:
                version = seen
            if version != seen:
                seen = version
                self.ring()
            pause.wait(WATCH_EVERY)
        conn.close()
