"""The async pool of a process: one for each alias, shared by the store and by request handlers.

Invariant: a pool belongs to the loop that opened it, and lives as long as anybody has it open.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.store.database.postgres.connections import parameters, role, role_query
from vtasks_asgi.store.database.postgres.wire import WireConnection

type Pool = AsyncConnectionPool[WireConnection]

#: Seconds to wait for a free connection before StoreUnavailable.
POOL_TIMEOUT = 3.0
#: Connections at the most, unless ``OPTIONS["POOL_SIZE"]`` says otherwise.
POOL_SIZE = 4
#: Seconds a failed connection is tried again by the pool itself; after that, when asked for one.
_RECONNECT = 2.0
_PREFIX = "vtasks-"


@dataclass(slots=True)
class Shared:
    """A pool and how many have it open; why the last attempt to connect failed, if it did."""

    pool: Pool
    alias: str
    size: int
    prepare: bool
    users: int = 0
    failure: str | None = None

    def complaint(self) -> StoreUnavailable:
        """Why there was no connection."""
        if self.failure:
            return StoreUnavailable(f"PostgreSQL: {self.failure}")
        return StoreUnavailable(
            f"all {self.size} pooled connections to DATABASES[{self.alias!r}] were busy for"
            f" {POOL_TIMEOUT:g} s; raise OPTIONS['POOL_SIZE'], or give them back sooner"
        )


_shared: dict[tuple[str, asyncio.AbstractEventLoop], Shared] = {}


def async_pool(alias: str = "default") -> Pool:
    """The pool of the worker that lives in the running loop, for code of the same loop.

    ``async with async_pool().connection() as connection:`` lends a psycopg connection in
    autocommit. It knows nothing of Django's transactions.

    Raises:
        StoreUnavailable: no worker with a PostgreSQL store on this alias lives in this loop.
    """
    shared = _shared.get((alias, asyncio.get_running_loop()))
    if shared is None:
        raise StoreUnavailable(
            f"no pool is open for DATABASES[{alias!r}]: there is one while a worker lives in this"
            " event loop"
        )
    return shared.pool


async def acquire(alias: str, *, size: int, prepare: bool) -> Shared:
    """The pool of this loop, opened if nobody has it open; that does not wait for a connection."""
    key = alias, asyncio.get_running_loop()
    shared = _shared.get(key)
    if shared is None:
        shared = _shared[key] = _make(alias, size, prepare)
        await shared.pool.open()
    shared.users += 1
    return shared


async def release(shared: Shared) -> None:
    """Let go of it; who is last closes it."""
    shared.users -= 1
    if shared.users == 0:
        _shared.pop((shared.alias, asyncio.get_running_loop()), None)
        await shared.pool.close(timeout=2.0)


def _make(alias: str, size: int, prepare: bool) -> Shared:
    assumed = role(alias)

    class Remembering(WireConnection):
        """psycopg's pool logs why it cannot connect, and tells nobody else."""

        @classmethod
        async def connect(cls, *args: Any, **kwargs: Any) -> Self:
            try:
                connection = await super().connect(*args, **kwargs)
            except psycopg.Error as error:
                shared.failure = " ".join(str(error).split())
                raise
            shared.failure = None
            return connection

    async def configure(connection: AsyncConnection) -> None:
        if assumed:
            await connection.execute(role_query(assumed))

    pool: Pool = AsyncConnectionPool(
        kwargs=parameters(alias) | {"prepare_threshold": 5 if prepare else None},
        connection_class=Remembering,
        configure=configure,
        min_size=1,
        max_size=size,
        timeout=POOL_TIMEOUT,
        reconnect_timeout=_RECONNECT,
        name=f"{_PREFIX}{alias}",
        open=False,
    )
    shared = Shared(pool, alias, size, prepare)
    return shared


class _NoOutages(logging.Filter):
    """Drops our pools' line for each failed attempt to connect: the runtime reports an outage."""

    def filter(self, record: logging.LogRecord) -> bool:
        return f"'{_PREFIX}" not in record.getMessage()


logging.getLogger("psycopg.pool").addFilter(_NoOutages())
