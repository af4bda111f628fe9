"""One connection for whoever must not use the loop: the thread that renews leases, foremost."""

import threading
from collections.abc import Callable
from typing import Any

from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.store.database.postgres.connections import (
    PATIENCE,
    connect_blocking,
    insist,
    mapped_errors,
)
from vtasks_asgi.store.database.postgres.plan import Plan, run_sync


class Blocking:
    """Opened when first used, and anew when it broke. From any thread, one at a time."""

    def __init__(self, alias: str, *, prepare: bool) -> None:
        self._alias = alias
        self._prepare = prepare
        self._lock = threading.Lock()
        self._conn: Any = None

    def run[T](self, make: Callable[[], Plan[T]]) -> T:
        """Run a plan in a transaction; again if that met a broken connection, or a deadlock.

        Raises:
            StoreUnavailable: no connection, or it was in use for too long.
        """
        if not self._lock.acquire(timeout=PATIENCE):
            raise StoreUnavailable("the connection to PostgreSQL for threads is busy")
        try:
            with mapped_errors():
                return insist(lambda: self._run(make()), self._renew)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Let go of it; one that is stuck is left to its thread."""
        if self._lock.acquire(timeout=1.0):
            try:
                if self._conn is not None:
                    self._conn.close()
                self._conn = None
            finally:
                self._lock.release()

    def _run[T](self, plan: Plan[T]) -> T:
        if self._conn is None:
            self._conn = connect_blocking(self._alias, prepare=self._prepare)
        with self._conn.transaction():
            return run_sync(self._conn, plan, prepare=self._prepare)

    def _renew(self) -> bool:
        broken = self._conn is not None and self._conn.closed
        if broken:
            self._conn = None
        return broken
