"""Connections of our own to the database Django uses, and PostgreSQL's errors in our words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import psycopg
from django.db import Error as DjangoDatabaseError
from django.db import connections
from psycopg import AsyncConnection, Connection, errors
from psycopg.adapt import AdaptersMap

from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.store.database.postgres import arrays
from vtasks_asgi.store.database.records import MIGRATE

#: Seconds to establish a connection, unless ``OPTIONS["connect_timeout"]`` says otherwise.
CONNECT_TIMEOUT = 5
#: Seconds a verb takes at the most, waiting for a connection included, before StoreUnavailable.
PATIENCE = 10.0

#: psycopg's ordinary types, and our arrays.
ADAPTERS = AdaptersMap(psycopg.adapters)
arrays.register(ADAPTERS)

# What these parameters of Django's stand for does not fit connections outside the ORM.
_DJANGOS = ("cursor_factory", "context", "prepare_threshold")


def parameters(alias: str) -> dict[str, Any]:
    """How Django connects to this alias, as keyword arguments of psycopg's ``connect``."""
    wrapper: Any = connections[alias].copy()
    found: dict[str, Any] = wrapper.get_connection_params()
    for name in _DJANGOS:
        found.pop(name, None)
    found.setdefault("connect_timeout", CONNECT_TIMEOUT)
    found.setdefault("fallback_application_name", "vtasks_asgi")
    return found | {"autocommit": True, "context": ADAPTERS}


def role(alias: str) -> str | None:
    """The role to assume after connecting, if the settings name one."""
    options: dict[str, Any] = connections[alias].settings_dict["OPTIONS"]
    found: str | None = options.get("assume_role")
    return found


def role_query(role: str) -> psycopg.sql.Composed:
    return psycopg.sql.SQL("SET ROLE {}").format(psycopg.sql.Identifier(role))


async def connect(alias: str) -> AsyncConnection:
    """A connection for the loop, in autocommit, apart from any pool."""
    conn = await AsyncConnection.connect(**parameters(alias), prepare_threshold=None)
    if name := role(alias):
        await conn.execute(role_query(name))
    return conn


def connect_blocking(alias: str, *, prepare: bool) -> "Connection[Any]":
    """A connection for threads, in autocommit."""
    threshold = 5 if prepare else None
    conn = psycopg.connect(**parameters(alias), prepare_threshold=threshold)
    if name := role(alias):
        conn.execute(role_query(name))
    return conn


async def is_pooled(conn: AsyncConnection) -> bool:
    """Does something like PgBouncer stand between?

    The server names its process when a session begins; a pooler, which has no session to offer yet,
    makes a number up.
    """
    cursor = await conn.execute("SELECT pg_backend_pid()")
    found = await cursor.fetchone()
    return found is None or found[0] != conn.info.backend_pid


#: Worth another try, for the server has rolled back what was done and says so.
RETRYABLE = (
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.LockNotAvailable,
    errors.InvalidSqlStatementName,
)
#: How often it is tried again.
RETRIES = 5


def insist[T](attempt: Callable[[], T], renew: Callable[[], bool]) -> T:
    """Try until it works, or fails for another reason than chance or a connection that broke.

    ``renew`` drops the connection if it is broken, and tells whether it was.
    """
    broken = False
    for tries in count():
        try:
            return attempt()
        except (psycopg.Error, DjangoDatabaseError) as error:
            if isinstance(error, RETRYABLE) or isinstance(error.__cause__, RETRYABLE):
                if tries >= RETRIES:
                    raise
            elif broken or not renew():
                raise
            else:
                broken = True
    raise AssertionError  # count() does not end


@contextmanager
def mapped_errors() -> Iterator[None]:
    """psycopg's, Django's and the clock's errors as StoreUnavailable, with their text."""
    try:
        yield
    except (psycopg.Error, DjangoDatabaseError) as error:
        cause = error.__cause__ if isinstance(error, DjangoDatabaseError) else error
        missing = isinstance(cause, errors.UndefinedTable | errors.UndefinedColumn)
        raise StoreUnavailable(MIGRATE if missing else _text(error)) from error
    except TimeoutError as error:
        raise StoreUnavailable(f"PostgreSQL did not answer within {PATIENCE:g} s") from error


def _text(error: Exception) -> str:
    return f"PostgreSQL: {' '.join(str(error).split()) or type(error).__name__}"
