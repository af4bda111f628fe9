"""A store on the session's MariaDB, and somebody else's transaction there."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any

from django.db import connections

from vtasks_asgi.store.database.mysql.store import MySQLStore

ALIAS = "mariadb"


@asynccontextmanager
async def opened() -> AsyncIterator[MySQLStore]:
    store = MySQLStore(ALIAS)
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


@contextmanager
def other_transaction() -> Iterator[Callable[..., Any]]:
    """Somebody else's: a function that runs a statement in it. Rolled back at the end."""
    import MySQLdb

    other: Any = MySQLdb.connect(**connections[ALIAS].get_connection_params())
    with closing(other), other.cursor() as cursor:
        cursor.execute("BEGIN")
        yield lambda query, *values: cursor.execute(query, values) and cursor.fetchall()
