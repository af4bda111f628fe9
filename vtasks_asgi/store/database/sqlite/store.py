"""The SQLite store: WAL, one writer thread, shared transactions, and a doorbell.

Invariant: every write of this process outside a caller's own transaction goes through the writer,
so that processes, never threads, compete for the file's lock.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from django.db import connections, transaction

from vtasks_asgi.core.clock import Clock, SystemClock
from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.message import Message
from vtasks_asgi.store.base import (
    Claim,
    Claimed,
    QueueStats,
    Receipt,
    Record,
    Settled,
    Settlement,
    State,
    Ticked,
    Ticks,
    limited,
)
from vtasks_asgi.store.control import Cancellation, Paused
from vtasks_asgi.store.database.pauses import QUEUE, TASK
from vtasks_asgi.store.database.sqlite import control, inspect, push, sql
from vtasks_asgi.store.database.sqlite.connections import connect, mapped_errors
from vtasks_asgi.store.database.sqlite.grouping import SQLiteGroups, nothing
from vtasks_asgi.store.database.sqlite.watcher import Watcher
from vtasks_asgi.store.database.sqlite.writer import Work, Writer
from vtasks_asgi.store.database.turns import Turns
from vtasks_asgi.store.doorbell import Doorbell
from vtasks_asgi.store.group_commit import GroupCommit

#: A push of at most so many is worth doing on the loop itself (some 40 µs).
AT_ONCE_MESSAGES = 4


class SQLiteStore(SQLiteGroups):
    """See ``store.base``. ``alias`` names the database in Django's DATABASES."""

    def __init__(
        self, alias: str = "default", *, dead_letter_cap: int = 1000, clock: Clock | None = None
    ) -> None:
        self._alias = alias
        self._cap = dead_letter_cap
        self._now = (clock or SystemClock()).now
        self._doorbell = Doorbell()
        self._watcher = Watcher(alias, self._doorbell)
        self._heard: dict[str, int] = {}
        self._turns = Turns()
        self._writer: Writer | None = None
        self._reader: ThreadPoolExecutor | None = None
        self._reading: sqlite3.Connection | None = None
        self._pushes = GroupCommit(self._push_group)

    # -- opening and closing

    async def open(self) -> None:
        if self._writer is not None:
            return
        writer = Writer(self._alias)
        await asyncio.wrap_future(writer.start())
        self._reader = ThreadPoolExecutor(1, thread_name_prefix=f"vtasks-reader-{self._alias}")
        self._watcher.start()
        self._writer = writer

    async def aclose(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await asyncio.to_thread(self._close, writer)

    def _close(self, writer: Writer) -> None:
        writer.close()
        self._watcher.close()
        if self._reader:
            self._reader.submit(self._close_reading)
            self._reader.shutdown()

    def _close_reading(self) -> None:
        if self._reading:
            self._reading.close()
            self._reading = None

    @property
    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise StoreUnavailable("the store is not open")
        return self._writer

    # -- producing

    async def push(self, messages: Sequence[Message]) -> list[Receipt]:
        return await self._pushes.commit(messages)

    def _push_group(self, messages: list[Message]) -> "asyncio.Future[list[Receipt]]":
        now = self._now()
        few = len(messages) <= AT_ONCE_MESSAGES
        submit = self._open_writer.submit_now if few else self._open_writer.submit
        written = submit(lambda conn: push.push(conn, messages, now))
        queues = {message.queue for message in messages}
        written.add_done_callback(lambda _: self._doorbell.ring(queues))
        return written

    def push_sync(self, messages: Sequence[Message]) -> list[Receipt]:
        now = self._now()
        ring = partial(self._doorbell.ring, {message.queue for message in messages})
        return self._write_here(lambda conn: push.push(conn, messages, now), ring)

    async def ticks(self, schedules: Sequence[str]) -> Ticks:
        last = await self._read(lambda conn: inspect.ticks(conn, schedules))
        return Ticks(self._now(), last)

    async def push_tick(self, schedule: str, at: float, message: Message | None) -> Ticked:
        work = partial(push.push_tick, schedule=schedule, at=at, message=message, now=self._now())
        fired = await self._open_writer.submit(work)
        if fired is Ticked.FIRED and message is not None:
            self._doorbell.ring({message.queue})
        return fired

    # -- consuming

    async def claim(self, queue: str, limit: int, *, worker: str, lease: float) -> Claimed:
        self._heard[queue] = self._doorbell.listen(queue)
        now, turns = self._now, self._turns
        return await self._open_writer.submit(
            lambda conn: sql.claim(
                conn, queue, limit, worker=worker, lease=lease, now=now(), turns=turns
            ),
            peek=lambda conn: sql.due(conn, queue, now()),
        )

    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        now = self._now()
        return self._open_writer.call(lambda conn: sql.extend(conn, claims, lease, now))

    async def settle(self, settlements: Sequence[Settlement]) -> Settled:
        cap, now = self._cap, self._now()
        work = partial(sql.settle, settlements=settlements, cap=cap, now=now)
        settled = await self._open_writer.submit(work)
        if freed := limited(settlements):
            self._doorbell.ring({queue for queue, _ in freed})
        return settled

    async def save(self, claim: Claim) -> bool:
        return await self._open_writer.submit(lambda conn: sql.save(conn, claim))

    def settle_sync(self, settlements: Sequence[Settlement]) -> Settled:
        connection = connections[self._alias]
        with mapped_errors(), transaction.atomic(using=self._alias):
            connection.ensure_connection()
            settled = sql.settle(connection.connection, settlements, self._cap, self._now())
            transaction.on_commit(self._doorbell.ring, using=self._alias, robust=True)
        return settled

    async def reclaim(self, queue: str, limit: int, *, worker: str, lease: float) -> list[Claim]:
        now = self._now
        return await self._open_writer.submit(
            lambda conn: sql.reclaim(conn, queue, limit, worker=worker, lease=lease, now=now()),
            peek=lambda conn: sql.expired(conn, queue, now()),
        )

    async def wait(self, queues: Sequence[str], timeout: float) -> None:
        self._open_writer  # noqa: B018 - raises when the store is not open
        heard = {queue: self._heard.get(queue, -1) for queue in queues}
        await self._doorbell.wait(heard, timeout)

    # -- inspecting

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        return await self._read(lambda conn: inspect.stats(conn, queues, self._now()))

    async def known_queues(self) -> list[str]:
        return await self._read(inspect.known)

    async def lookup(self, ids: Sequence[str]) -> dict[str, Record]:
        return await self._read(lambda conn: inspect.lookup(conn, ids, self._now()))

    def lookup_sync(self, ids: Sequence[str]) -> dict[str, Record]:
        connection = connections[self._alias]
        with mapped_errors():
            connection.ensure_connection()
            return inspect.lookup(connection.connection, ids, self._now())

    async def browse(
        self, queue: str, state: State, *, limit: int, cursor: str | None = None
    ) -> tuple[list[Record], str | None]:
        return await self._read(
            lambda conn: inspect.browse(
                conn, queue, state, limit=limit, cursor=cursor, now=self._now()
            )
        )

    async def requeue(self, ids: Sequence[str]) -> int:
        now = self._now()
        count = await self._open_writer.submit(lambda conn: inspect.requeue(conn, ids, now))
        self._doorbell.ring()
        return count

    async def purge(self, queue: str, state: State, *, before: float | None = None) -> int:
        if state is State.RUNNING:
            raise ValueError("running messages cannot be purged")
        return await self._open_writer.submit(
            lambda conn: inspect.purge(conn, queue, state, before)
        )

    async def prune(self, limit: int) -> int:
        now = self._now()
        return await self._open_writer.submit(lambda conn: inspect.prune(conn, limit, now))

    # -- cancelling and pausing

    async def cancel(self, ids: Sequence[str]) -> Cancellation:
        cap, now = self._cap, self._now()
        return await self._open_writer.submit(lambda conn: control.cancel(conn, ids, cap, now))

    def cancel_sync(self, ids: Sequence[str]) -> Cancellation:
        return self._write_here(lambda conn: control.cancel(conn, ids, self._cap, self._now()))

    def cancelled(self, claims: Sequence[Claim]) -> list[Claim]:
        def look(conn: sqlite3.Connection) -> list[Claim]:
            return control.cancelled(conn, claims)

        return self._open_writer.call(look, peek=look)

    async def pause(self, queue: str, until: float | None = None) -> None:
        await self._open_writer.submit(lambda conn: control.pause(conn, QUEUE, queue, until))

    async def resume(self, queue: str) -> bool:
        now = self._now()
        was = await self._open_writer.submit(lambda conn: control.resume(conn, QUEUE, queue, now))
        self._doorbell.ring({queue})
        return was

    async def pause_task(self, task: str, until: float | None = None) -> None:
        await self._open_writer.submit(lambda conn: control.pause(conn, TASK, task, until))

    async def resume_task(self, task: str) -> bool:
        now = self._now()
        return await self._open_writer.submit(lambda conn: control.resume(conn, TASK, task, now))

    async def paused(self) -> Paused:
        return await self._read(lambda conn: control.paused(conn, self._now()))

    async def paused_tasks(self) -> set[str]:
        return await self._read(lambda conn: control.paused_names(conn, TASK, self._now()))

    # -- helpers

    def _write_here[T](self, work: Work[T], committed: Callable[[], None] = nothing) -> T:
        """In the caller's transaction if there is one; else through the writer, if it runs."""
        connection = connections[self._alias]
        if not connection.in_atomic_block and self._writer is not None:
            result = self._writer.call(work)
            committed()
            return result
        with mapped_errors(), transaction.atomic(using=self._alias):
            connection.ensure_connection()
            result = work(connection.connection)
            transaction.on_commit(committed, using=self._alias, robust=True)
        return result

    async def _read[T](self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query on the reader's connection: readers never wait for the writer."""
        self._open_writer  # noqa: B018 - raises when the store is not open
        assert self._reader is not None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reader, self._query, query)

    def _query[T](self, query: Callable[[sqlite3.Connection], T]) -> T:
        with mapped_errors():
            if self._reading is None:
                self._reading = connect(self._alias)
            return query(self._reading)
