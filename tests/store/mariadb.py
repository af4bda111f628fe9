"""A store on the session's MariaDB, and somebody else's transaction there."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any

from django.db import connections, transaction

from tests.store.helpers import QUEUE
from vtasks_asgi.core.message import Message, new_id
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


def keyed(key: str = "key", queue: str = QUEUE) -> Message:
    return Message(new_id(), queue, b"body", unique=key)


@asynccontextmanager
async def request(work: Callable[[], object]) -> AsyncIterator[None]:
    """Somebody has done this in a transaction that stays open until the body's end."""
    loop = asyncio.get_running_loop()
    done, go_on = asyncio.Event(), threading.Event()

    def run() -> None:
        try:
            with transaction.atomic(using=ALIAS):
                work()
                loop.call_soon_threadsafe(done.set)
                assert go_on.wait(30)
        finally:
            loop.call_soon_threadsafe(done.set)
            connections[ALIAS].close()

    running = asyncio.create_task(asyncio.to_thread(run))
    try:
        await done.wait()
        yield
    finally:
        go_on.set()
        await running
