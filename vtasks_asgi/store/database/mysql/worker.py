"""A thread with a connection of its own: jobs that wait together share a transaction.

A job is a function of a step. When one of a shared transaction fails, it is rolled back and every
job runs again alone, so that an error reaches exactly the caller it concerns.
"""

import asyncio
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.store.database import jobs
from vtasks_asgi.store.database.jobs import Job
from vtasks_asgi.store.database.mysql.link import Broken, Conflict, Link
from vtasks_asgi.store.database.mysql.step import Step

type Work[T] = jobs.Work[Step, T]

#: Jobs of one transaction at the most: bounds how long its locks are held.
SHARE_LIMIT = 64
#: Seconds a job is tried again after conflicts with other transactions.
CONFLICT_LIMIT = 15.0
#: Seconds a thread waits for its answer; longer than anything the server is given.
CALL_LIMIT = 90.0
_PAUSE_FIRST, _PAUSE_LAST = 0.002, 0.1


class Worker:
    """Start it, hand it jobs from any thread, finish it. Not reusable after that."""

    def __init__(self, alias: str, name: str, *, share: int = SHARE_LIMIT) -> None:
        self._link = Link(alias)
        self._share = share
        self._jobs: queue.SimpleQueue[Job[Step] | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(
            target=self._run, name=f"vtasks-{name}-{alias}", daemon=True
        )

    def start(self) -> None:
        """Begin; the connection is opened by the first job."""
        self._thread.start()

    def submit[T](self, work: Work[T]) -> "asyncio.Future[T]":
        """From an event loop: run ``work`` in a committed transaction."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._put(Job(work, future, loop))
        return future

    def call[T](self, work: Work[T]) -> T:
        """From any other thread: the same, blocking."""
        future: Future[T] = Future()
        self._put(Job(work, future, None))
        try:
            return future.result(timeout=CALL_LIMIT)
        except TimeoutError as error:
            raise StoreUnavailable(f"MySQL: no answer within {CALL_LIMIT:.0f} s") from error

    def finish(self) -> None:
        """Take no more jobs; the thread ends after those at hand."""
        self._closed = True
        self._jobs.put(None)

    def join(self, timeout: float) -> None:
        """Wait for that."""
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _put(self, job: Job[Step]) -> None:
        if self._closed or not self._thread.is_alive():
            raise StoreUnavailable("the store is not open")
        self._jobs.put(job)

    # -- the thread

    def _run(self) -> None:
        last = False
        while not last:
            batch, last = jobs.take(self._jobs, self._share)
            if not self._shared(batch):
                for job in batch:
                    self._alone(job)
            jobs.deliver(batch)
        self._link.close()

    def _shared(self, batch: Sequence[Job[Step]]) -> bool:
        """All in one transaction; False when each should be tried alone."""
        if len(batch) < 2:
            return False

        def work(step: Step) -> None:
            for job in batch:
                job.result = job.work(step)

        try:
            self._link.transact(work)
        except Broken as error:
            for job in batch:
                job.error = error
        except Exception:  # noqa: BLE001 - whose it is turns out when each runs alone
            return False
        return True

    def _alone(self, job: Job[Step]) -> None:
        try:
            job.result = patiently(lambda: self._link.transact(job.work))
        except Exception as error:  # noqa: BLE001 - carried to the caller, whatever it is
            job.error = error


def patiently[T](attempt: Callable[[], T]) -> T:
    """What it returns once no other transaction stands in the way; with jitter, so that one wins.

    Raises:
        Conflict: for ``CONFLICT_LIMIT`` seconds there always was one.
    """
    deadline, pause = time.monotonic() + CONFLICT_LIMIT, _PAUSE_FIRST
    while True:
        try:
            return attempt()
        except Conflict:
            if time.monotonic() > deadline:
                raise
        time.sleep(pause * random.random())
        pause = min(pause * 2, _PAUSE_LAST)
