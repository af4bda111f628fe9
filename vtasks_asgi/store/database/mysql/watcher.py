"""Notices what other processes have pushed, by looking now and then while somebody waits."""

import threading

from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.store.database.mysql.step import Step
from vtasks_asgi.store.database.mysql.worker import Worker
from vtasks_asgi.store.database.pace import Pace
from vtasks_asgi.store.doorbell import Doorbell

#: Seconds between two looks.
WATCH_EVERY = 0.05

# The end of one index and the beginning of another: neither grows with the queue. In the first
# statement also the names of paused queues, where it is of no use that something is ready.
_NEWEST = """
SELECT MAX(seq), NULL FROM vtasks_message
UNION ALL
SELECT NULL, name FROM vtasks_pause WHERE kind = 0 AND (until IS NULL OR until > %s)
"""
_READY = """
SELECT EXISTS (SELECT 1 FROM vtasks_message FORCE INDEX (vtasks_message_turn)
    WHERE queue IN %s AND state IN (0, 3))
"""


class Watcher:
    """Rings the doorbell when there is a message later than the last seen, or one is ready."""

    def __init__(self, alias: str, doorbell: Doorbell, worker: Worker) -> None:
        self._doorbell = doorbell
        self._worker = worker
        self._closed = False
        self._pace = Pace()
        self._pause = threading.Event()
        self._thread = threading.Thread(
            target=self._watch, name=f"vtasks-watch-{alias}", daemon=True
        )

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def finish(self) -> None:
        """Stop watching."""
        self._closed = True
        self._pause.set()
        self._doorbell.somebody.set()

    def join(self, timeout: float) -> None:
        """Wait for that."""
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _watch(self) -> None:
        seen: int | None = None
        while True:
            self._doorbell.somebody.wait()
            if self._closed:
                return
            try:
                newest, ready = self._worker.call(self._look)
            except StoreError:
                pass  # whoever claims next meets the same error and reports it
            else:
                if ready or newest != seen:
                    seen = newest
                    self._doorbell.ring()
            self._pause.wait(WATCH_EVERY)

    def _look(self, step: Step) -> tuple[int | None, bool]:
        [(newest, _), *paused] = step.rows(_NEWEST, step.now)
        queues = list(self._doorbell.waited_for() - {name for _, name in paused})
        ready = False
        if queues and self._pace.begin():
            ready = bool(step.rows(_READY, queues)[0][0])
            self._pace.end()
        return newest, ready
