"""Notices what other processes have pushed into the file.

SQLite's ``PRAGMA data_version`` changes whenever another connection has committed.
"""

import sqlite3
import threading

from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.store.database.sqlite.connections import connect
from vtasks_asgi.store.doorbell import Doorbell

#: Seconds between two looks at the database file while somebody waits.
WATCH_EVERY = 0.02


class Watcher:
    """Rings the doorbell for everybody after each commit of another connection."""

    def __init__(self, alias: str, doorbell: Doorbell) -> None:
        self._alias = alias
        self._doorbell = doorbell
        self._closed = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._closed = False
        self._thread = threading.Thread(
            target=self._watch, name=f"vtasks-watch-{self._alias}", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop watching; blocks for a moment."""
        self._closed = True
        self._doorbell.somebody.set()
        if self._thread:
            self._thread.join(timeout=5)

    def _watch(self) -> None:
        try:
            conn = connect(self._alias)
        except StoreError:
            return  # polling remains; the store's own open reports the reason
        pause = threading.Event()
        seen = -1
        while not self._closed:
            self._doorbell.somebody.wait()
            try:
                (version,) = conn.execute("PRAGMA data_version").fetchone()
            except sqlite3.Error:
                version = seen
            if version != seen:
                seen = version
                self._doorbell.ring()
            pause.wait(WATCH_EVERY)
        conn.close()
