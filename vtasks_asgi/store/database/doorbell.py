"""Tells waiting workers to look again: at once for this process, soon for the others.

Within the process a push rings directly. Other processes are noticed through SQLite's
``PRAGMA data_version``, which changes whenever another connection has committed.
"""

import asyncio
import sqlite3
import threading

from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.store.database.connections import connect

#: Seconds between two looks at the database file while somebody waits.
WATCH_EVERY = 0.02


class Doorbell:
    """``listen`` before looking, ``wait`` if nothing was found: no ring in between is missed."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._rings = 0
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._somebody = threading.Event()
        self._closed = False
        self._watcher: threading.Thread | None = None

    def ring(self) -> None:
        """Wake everybody who waits; from any thread."""
        self._rings += 1
        for event, loop in list(self._waiting.items()):
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:
                self._waiting.pop(event, None)  # that loop is closed

    def listen(self) -> int:
        """The number of rings so far, to be handed to ``wait``."""
        return self._rings

    async def wait(self, heard: int, timeout: float) -> None:
        """Return when it rings, at once if it rang after ``heard``, or after ``timeout`` s."""
        event = asyncio.Event()
        self._waiting[event] = asyncio.get_running_loop()
        self._somebody.set()
        try:
            if self._rings == heard:
                async with asyncio.timeout(timeout):
                    await event.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting.pop(event, None)
            if not self._waiting:
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
