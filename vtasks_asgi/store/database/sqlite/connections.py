"""Connections of our own to the SQLite file Django uses, and its errors in our words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import Error as DjangoDatabaseError
from django.db import connections

from vtasks_asgi.core.errors import StoreError, StoreUnavailable
from vtasks_asgi.store.database.records import MIGRATE

#: A page of 4 KiB times this is how large the write-ahead log grows before it is folded back.
CHECKPOINT_PAGES = 4000
#: Seconds a connection waits for the file's lock, unless its owner sets another time.
OPEN_TIMEOUT = 10


def connect(alias: str) -> sqlite3.Connection:
    """A raw connection with Django's own parameters, in WAL mode and autocommit.

    How durable a commit is (``PRAGMA synchronous``) is what Django's connections have it to be.

    Raises:
        StoreUnavailable: the file cannot be opened, or the migrations have not run.
        StoreError: the database is in memory, where no second connection can follow.
    """
    wrapper: Any = connections[alias].copy()
    if wrapper.is_in_memory_db():
        raise StoreError(
            f"DATABASES[{alias!r}] is an in-memory SQLite database, which a worker cannot share;"
            " give it a file name"
        )
    with mapped_errors():
        raw: sqlite3.Connection = wrapper.get_new_connection(wrapper.get_connection_params())
        try:
            _configure(raw)
        except BaseException:
            raw.close()
            raise
    return raw


def _configure(raw: sqlite3.Connection) -> None:
    raw.isolation_level = None  # autocommit: transactions begin where we say so
    # In WAL mode even reading waits while another process opens the file first or closes it last.
    raw.execute(f"PRAGMA busy_timeout = {OPEN_TIMEOUT * 1000}")
    (mode,) = raw.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        raw.execute("PRAGMA journal_mode = WAL")
    raw.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")


def is_busy(error: sqlite3.OperationalError) -> bool:
    """Somebody else holds the lock: worth waiting for."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@contextmanager
def mapped_errors() -> Iterator[None]:
    """SQLite's and Django's database errors as StoreUnavailable, with their text."""
    try:
        yield
    except (sqlite3.Error, DjangoDatabaseError) as error:
        if "no such table: vtasks_" in str(error):
            raise StoreUnavailable(MIGRATE) from error
        raise StoreUnavailable(f"SQLite: {error}") from error
