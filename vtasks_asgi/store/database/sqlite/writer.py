"""One thread, one connection, all writes: jobs that wait together share a transaction.

A job is a function of the raw connection. It may bring a ``peek``, a read that can answer it
without a transaction. When a job of a shared transaction fails, the transaction is rolled back and
every job runs again alone, so that an error reaches exactly the caller it concerns.
"""

import asyncio
import queue
import random
import sqlite3
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.store.database import jobs
from vtasks_asgi.store.database.sqlite.connections import (
    CHECKPOINT_PAGES,
    connect,
    is_busy,
    mapped_errors,
)

type Work[T] = jobs.Work[sqlite3.Connection, T]

#: Jobs of one transaction at the most: bounds how long other processes wait for the lock.
SHARE_LIMIT = 64
#: Seconds a job waits for another process's lock before StoreUnavailable.
BUSY_LIMIT = 20.0
#: Jobs done on the loop in a row before the thread must have one, and with it a checkpoint.
AT_ONCE_LIMIT = 200
_FULL = 2  # PRAGMA synchronous: from here on every commit flushes the disk
_PAUSE_FIRST, _PAUSE_LAST = 0.0005, 0.02


@dataclass(slots=True)
class _Job(jobs.Job[sqlite3.Connection]):
    peek: Work[Any] | None = None

    def attempt(self, conn: sqlite3.Connection) -> None:
        try:
            with mapped_errors():
                self.result, self.error = self.work(conn), None
        except Exception as error:  # noqa: BLE001 - carried to the caller, whatever it is
            self.error = error


class Writer:
    """Start it, hand it jobs from any thread, close it. Not reusable after ``close``."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._conn: sqlite3.Connection | None = None
        self._in_use = threading.Lock()
        self._at_once = 0
        self._opened: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, name=f"vtasks-writer-{alias}", daemon=True
        )

    def start(self) -> "Future[None]":
        """Begin; the future tells when the connection stands, or why not."""
        self._thread.start()
        return self._opened

    def submit[T](self, work: Work[T], peek: Work[T | None] | None = None) -> "asyncio.Future[T]":
        """From the event loop: run ``work`` in a committed transaction, or answer with ``peek``."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._put(_Job(work, future, loop, peek=peek))
        return future

    def submit_now[T](self, work: Work[T]) -> "asyncio.Future[T]":
        """``submit``, at once and on the loop where that costs less than two thread switches.

        That is when the thread is idle, the file is not locked and a commit flushes no disk.
        """
        if self._at_once > 0 and self._jobs.empty() and self._in_use.acquire(blocking=False):
            try:
                job = self._do_now(work)
            finally:
                self._in_use.release()
            if job is not None:
                jobs.resolve([job])
                return job.future  # type: ignore[return-value]
        return self.submit(work)

    def _do_now(self, work: Work[Any]) -> _Job | None:
        conn, loop = self._conn, asyncio.get_running_loop()
        if conn is None:
            return None
        self._at_once -= 1
        job = _Job(work, loop.create_future(), loop)
        try:
            conn.execute("PRAGMA wal_autocheckpoint = 0")  # folding the log back is for the thread
            conn.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:
            return None  # locked: the thread can wait for it
        try:
            job.attempt(conn)
            conn.execute("ROLLBACK" if job.error else "COMMIT")
        except sqlite3.Error as error:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            job.error = StoreUnavailable(f"SQLite: {error}")
        return job

    def call[T](self, work: Work[T], peek: Work[T | None] | None = None) -> T:
        """From any other thread: the same, blocking."""
        future: Future[T] = Future()
        self._put(_Job(work, future, None, peek=peek))
        return future.result(timeout=BUSY_LIMIT + 5)

    def close(self) -> None:
        """Finish the jobs at hand, then end the thread; blocks."""
        self._closed = True
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=BUSY_LIMIT)

    def _put(self, job: _Job) -> None:
        if self._closed or not self._thread.is_alive():
            raise StoreUnavailable("the store is not open")
        self._jobs.put(job)

    # -- the thread

    def _run(self) -> None:
        try:
            conn = _connected(self._alias)
        except Exception as error:  # noqa: BLE001 - carried to whoever opens the store
            self._opened.set_exception(error)
            return
        (synchronous,) = conn.execute("PRAGMA synchronous").fetchone()
        limit = AT_ONCE_LIMIT if synchronous < _FULL else 0
        self._conn, self._at_once = conn, limit
        self._opened.set_result(None)
        last = False
        while not last:
            batch, last = jobs.take(self._jobs, SHARE_LIMIT)
            with self._in_use:
                self._serve(conn, batch)
                self._at_once = limit
        with self._in_use:
            self._conn = None
            conn.close()

    def _serve(self, conn: sqlite3.Connection, batch: list[_Job]) -> None:
        conn.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        writes = [job for job in batch if not _peeked(conn, job)]
        if writes and not _transact(conn, writes) and len(writes) > 1:
            for job in writes:
                _transact(conn, [job])
        jobs.deliver(batch)


def _connected(alias: str) -> sqlite3.Connection:
    conn = connect(alias)
    try:
        with mapped_errors():
            conn.execute(
                "SELECT 1 FROM vtasks_message, vtasks_limit, vtasks_group LIMIT 0"
            )  # have the migrations run?
        conn.execute("PRAGMA busy_timeout = 0")  # _patiently waits with jitter instead
    except BaseException:
        conn.close()
        raise
    return conn


def _peeked(conn: sqlite3.Connection, job: _Job) -> bool:
    if job.peek is None:
        return False
    try:
        job.result = job.peek(conn)
    except sqlite3.Error:
        return False  # the write that follows meets the same error and reports it
    return job.result is not None


def _transact(conn: sqlite3.Connection, batch: list[_Job]) -> bool:
    """One transaction for all of them, or none of it; False when it was for one job's fault."""
    try:
        _patiently(conn, "BEGIN IMMEDIATE")
        for job in batch:
            job.attempt(conn)
            if job.error:
                break
        if any(job.error for job in batch):
            conn.execute("ROLLBACK")
            return False
        _patiently(conn, "COMMIT")
    except sqlite3.Error as error:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        for job in batch:
            job.error = StoreUnavailable(f"SQLite: {error}")
    return True


def _patiently(conn: sqlite3.Connection, statement: str) -> None:
    """Wait for the lock with jitter: SQLite's own busy handler lets some processes starve."""
    deadline, pause = time.monotonic() + BUSY_LIMIT, _PAUSE_FIRST
    while True:
        try:
            conn.execute(statement)
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(pause * random.random())
            pause = min(pause * 1.5, _PAUSE_LAST)
        else:
            return
