"""Runs plans: on the pool, on the connection for threads, and on Django's own.

What was rolled back by the server, and what met a broken connection, is tried again here: every
verb may be repeated, and where the statement is ours alone nobody else's work is repeated with it.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import psycopg
from django.db import connections
from django.db.transaction import atomic
from psycopg_pool import PoolTimeout

from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.store.database.postgres import pool
from vtasks_asgi.store.database.postgres.blocking import Blocking
from vtasks_asgi.store.database.postgres.connections import (
    PATIENCE,
    RETRIES,
    RETRYABLE,
    connect,
    insist,
    is_pooled,
    mapped_errors,
)
from vtasks_asgi.store.database.postgres.plan import Plan, run_sync
from vtasks_asgi.store.database.postgres.wire import run

logger = logging.getLogger("vtasks_asgi")


class Runner:
    """The connections of one store. ``direct``: nothing like PgBouncer stands between."""

    def __init__(self, alias: str, *, pool_size: int) -> None:
        self._alias = alias
        self._pool_size = pool_size
        self._shared: pool.Shared | None = None
        self._blocking: Blocking | None = None
        self.direct = True

    @property
    def is_open(self) -> bool:
        return self._shared is not None

    async def open(self) -> None:
        """Look whether server and tables are there, then open the pool.

        Raises:
            StoreUnavailable: they are not.
        """
        with mapped_errors():
            async with asyncio.timeout(PATIENCE), await connect(self._alias) as probe:
                self.direct = not await is_pooled(probe)
                await probe.execute(
                    "SELECT FROM vtasks_message, vtasks_limit, vtasks_group LIMIT 0"
                )
        size, prepare = self._pool_size, self.direct
        self._blocking = Blocking(self._alias, prepare=prepare)
        self._shared = await pool.acquire(self._alias, size=size, prepare=prepare)
        logger.info(
            "PostgreSQL at DATABASES[%r]: at most %d connections of this process"
            " (pool %d, leases 1, notifications %d)%s",
            self._alias,
            self._shared.size + 1 + self.direct,
            self._shared.size,
            self.direct,
            "" if self.direct else "; a pooler stands between: nothing is prepared or listened to",
        )

    async def aclose(self) -> None:
        shared, self._shared = self._shared, None
        if shared is not None:
            await pool.release(shared)
        if self._blocking is not None:
            await asyncio.to_thread(self._blocking.close)

    async def run[T](self, make: Callable[[], Plan[T]], *, transaction: bool = False) -> T:
        """Run a plan on the pool; one of several steps needs a ``transaction``."""
        shared = self.require_open()
        with mapped_errors():
            # Cancelling asks the server to cancel, for which the second bound is.
            async with asyncio.timeout(PATIENCE + 1), asyncio.timeout(PATIENCE):
                return await _patiently(shared, make, transaction)

    def require_open(self) -> pool.Shared:
        """Raise StoreUnavailable unless it is open."""
        if self._shared is None:
            raise StoreUnavailable("the store is not open")
        return self._shared

    def run_in_thread[T](self, make: Callable[[], Plan[T]]) -> T:
        """Run a plan on the blocking connection, from any thread."""
        self.require_open()
        assert self._blocking is not None
        return self._blocking.run(make)

    def run_here[T](
        self, make: Callable[[], Plan[T]], *, ours: bool, transaction: bool = False
    ) -> T:
        """Run a plan on Django's connection of this thread.

        Unless ``ours`` it is part of the caller's transaction, which an error leaves usable.
        """
        connection: Any = connections[self._alias]

        def attempt() -> T:
            connection.ensure_connection()
            scope = nullcontext() if ours and not transaction else atomic(using=self._alias)
            # Django has to notice when the connection breaks.
            with scope, connection.wrap_database_errors:
                return run_sync(connection.connection, make(), prepare=None, ours=ours)

        def renew() -> bool:
            stale = connection.connection is not None and not connection.is_usable()
            if stale:
                connection.close()
            return stale

        with mapped_errors():
            return insist(attempt, renew) if ours else attempt()


async def _patiently[T](shared: pool.Shared, make: Callable[[], Plan[T]], transaction: bool) -> T:
    tries, broken = 0, False
    while True:
        try:
            async with shared.pool.connection() as connection:
                try:
                    if not transaction:
                        return await run(connection, make(), prepare=shared.prepare)
                    async with connection.transaction():
                        return await run(connection, make(), prepare=shared.prepare)
                except RETRYABLE:
                    tries += 1
                    if tries > RETRIES:
                        raise
                except psycopg.Error:
                    if broken or not connection.closed:
                        raise
                    broken = True
        except PoolTimeout:
            raise shared.complaint() from None
        if broken:
            await shared.pool.check()  # its neighbours are likely to be broken as well
