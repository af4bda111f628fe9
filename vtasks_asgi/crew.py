"""Threads for the bodies of synchronous tasks: as few as keep busy, as many as block.

Jobs wait in one queue. A thread that takes a job wakes the next thread only if more jobs wait and
nobody is on the way already (the "spinning" rule of work-stealing schedulers, as in Go's): jobs
that never block are then done by one thread in a row, without a thread switch each, while a job
that blocks leaves the queue to the thread it has woken. Results return in batches too.
"""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connections

from vtasks_asgi.lanes import clean_connections, fit_for_a_future


@dataclass(slots=True)
class _Job:
    call: Callable[[], Any]
    context: contextvars.Context
    future: "asyncio.Future[Any]"
    result: Any = None
    error: BaseException | None = None

    def work(self) -> None:
        try:
            self.result = self.context.run(fit_for_a_future, self.call)
        except BaseException as error:  # noqa: BLE001 - belongs to whoever awaits it
            self.error = error

    def deliver(self) -> None:
        if self.future.done():
            return  # cancelled meanwhile
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Crew:
    """``await crew.run(call)`` from one event loop; daemon threads do the work.

    The caller bounds how many jobs there are at once, and so how many threads: each running task
    holds a slot. Daemons, for a stuck task must not keep the process from exiting.
    """

    def __init__(self) -> None:
        self._jobs: deque[_Job] = deque()
        self._done: deque[_Job] = deque()
        self._lock = threading.Lock()
        self._wakeups = threading.Semaphore(0)
        self._idle = 0
        self._coming = False  # a thread was woken and has not taken a job yet
        self._count = 0
        self._told = False
        self._closed = False

    async def run[T](self, call: Callable[[], T]) -> T:
        """Run a function in a copy of this context; its thread's connections are clean after it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.append(_Job(call, contextvars.copy_context(), future))
        with self._lock:
            self._call_somebody()
        return await future

    def close(self) -> None:
        """Let every thread end: idle ones now, busy ones after their job."""
        with self._lock:
            self._closed = True
            for _ in range(self._count):
                self._wakeups.release()

    def _call_somebody(self) -> None:
        """With the lock held: see that a thread comes for the jobs that wait."""
        if self._coming:
            return
        self._coming = True  # so that nobody calls a second one before the first has come
        if self._idle:
            self._idle -= 1
            self._wakeups.release()
        else:
            self._count += 1
            name = f"vtasks-crew-{self._count}"
            threading.Thread(target=self._serve, name=name, daemon=True).start()

    def _serve(self) -> None:
        while not self._closed:
            with self._lock:
                self._coming = False
                job = self._jobs.popleft() if self._jobs else None
                if job is None:
                    self._idle += 1
                elif self._jobs:
                    self._call_somebody()
            if job is None:
                self._wakeups.acquire()
            elif not job.future.cancelled():
                job.work()
                clean_connections()
                self._coming = True  # whoever hears of it may bring a job before this thread looks
                self._hand_back(job)
            del job
        connections.close_all()

    def _hand_back(self, job: _Job) -> None:
        self._done.append(job)
        if not self._told:
            self._told = True
            try:
                job.future.get_loop().call_soon_threadsafe(self._deliver)
            except RuntimeError:
                self._closed = True  # the loop is closed: nobody waits for results any more

    def _deliver(self) -> None:
        self._told = False  # before looking: what is added from now on tells again
        while self._done:
            self._done.popleft().deliver()
