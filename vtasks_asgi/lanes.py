"""Threads for tasks: the only room that knows asgiref.

A lane is one daemon thread, started when first used, on which everything thread-bound of one
running coroutine happens: whatever it sends through ``sync_to_async`` (the ORM's async methods
do). So each running task has database connections of its own, and a task that touches none costs
no thread hop. Bodies of synchronous tasks run in the ``crew``. A daemon thread, for a stuck task
must not keep the process from exiting.
"""

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from asgiref.sync import AsyncToSync, ThreadSensitiveContext, async_to_sync, sync_to_async
from django.db import connections

type _Work = tuple[Future[Any], Callable[[], Any]]


#: The lane of the running task.
current_lane: contextvars.ContextVar["Lane"] = contextvars.ContextVar("vtasks_lane")


class Lane(Executor):
    """One thread that runs one thing at a time; ``used`` until cleaned up after.

    An abandoned one is never used again: its thread may be stuck, and ends when it no longer is.
    """

    def __init__(self, number: int, base: contextvars.Context) -> None:
        self._number = number
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.used = False
        self._abandoned = False
        #: Copies of it are where tasks run: thread-sensitive calls made there come to this lane.
        self.context = base.copy()
        self.context.run(self._enter)

    def _enter(self) -> None:
        # Entered once for the lane's whole life; per task it would cost more than a no-op task.
        context: Any = ThreadSensitiveContext(executor=self)
        with contextlib.suppress(StopIteration):
            context.__aenter__().send(None)
        current_lane.set(self)

    async def clean(self) -> None:
        """Clean up after what was sent here, if anything was."""
        if self.used and not self._abandoned:
            await asyncio.wrap_future(self.submit(clean_connections))
            self.used = False

    def abandon(self) -> None:
        """Do not wait for what was sent here, if anything was."""
        self._abandoned = self.used

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        self.used = True
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name=f"vtasks-lane-{self._number}", daemon=True
            )
            self._thread.start()
        self._work.put((future, lambda: fn(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the thread end once it is idle; never waits."""
        self._work.put(None)

    def _run(self) -> None:
        while work := self._work.get():
            future, call = work
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - belongs to whoever awaits it
                future.set_exception(error)
            else:
                future.set_result(result)
            del work, future, call
        connections.close_all()


class CallersLane(Lane):
    """No thread of its own: what a task sends to threads goes where its caller's would go.

    So the caller's transaction is the task's, and nothing here ever cleans it up.
    """

    def __init__(self) -> None:
        self.used = True  # so that nobody keeps it for another task

    async def clean(self) -> None:
        """Nothing to do."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to do."""


class Lanes:
    """All lanes of a runtime; the one last given back is taken first, so few threads live."""

    def __init__(self) -> None:
        self._free: list[Lane] = []
        self._count = 0
        self._closed = False

    def take(self, base: contextvars.Context) -> Lane:
        """An idle lane, or a new one whose tasks see what ``base`` holds."""
        if self._free:
            return self._free.pop()
        self._count += 1
        return Lane(self._count, base)

    def give(self, lane: Lane) -> None:
        """Take back a lane that is idle and clean; one that may be busy is shut down instead."""
        if lane.used or self._closed:
            lane.shutdown()
        else:
            self._free.append(lane)

    def close(self) -> None:
        """Let all threads end; those of tasks that still run, when these end."""
        self._closed = True
        while self._free:
            self._free.pop().shutdown()


def fit_for_a_future[T](call: Callable[[], T]) -> T:
    """Call it; an exception that no future may carry becomes a RuntimeError."""
    try:
        return call()
    except (GeneratorExit, StopIteration) as error:
        raise RuntimeError(f"the task raised {type(error).__name__}") from error


def clean_connections() -> None:
    """Leave this thread's connections as a request would: none stale, no transaction open."""
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:  # left open: only a new connection is surely clean
            connection.close()
            del connections[connection.alias]
        else:
            connection.close_if_unusable_or_obsolete()


# asgiref's own variable behind ``executors``: a missing attribute of that costs 3 µs to find out.
_behind: Any = getattr(getattr(AsyncToSync.executors, "_storage", None), "_data", None)


def in_sync_caller() -> bool:
    """Is this coroutine run by ``async_to_sync`` from a thread that waits for it?"""
    if _behind is not None and _behind.get(None) is None:
        return False
    return getattr(AsyncToSync.executors, "current", None) is not None


def run_here[T](work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end; what it sends through ``sync_to_async`` happens in this thread.

    A thread whose event loop is running can do neither: then another one does both, and this waits.
    """

    async def call() -> T:
        return await work()

    def here() -> T:
        result: T = async_to_sync(call)()
        return result

    def elsewhere() -> T:
        try:
            return here()
        finally:
            connections.close_all()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return here()
    with ThreadPoolExecutor(1, thread_name_prefix="vtasks-aside") as aside:
        return aside.submit(elsewhere).result()


async def in_caller_thread[T](call: Callable[[], T]) -> T:
    """Run a function where the caller's database connections are (``thread_sensitive``)."""
    result: T = await sync_to_async(call, thread_sensitive=True)()
    return result
