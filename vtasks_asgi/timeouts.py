"""The time limit of one run: asked to end when it is over, left behind when it does not.

A coroutine is cancelled, as by ``asyncio.timeout``; a function in a thread is interrupted at its
next bytecode. Whoever does not end within the grace, for it catches that or sits in C code, loses
slot and lease: its message has failed, and what the run still does has no effect on it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from vtasks_asgi import lanes
from vtasks_asgi.core.errors import TaskInterrupt, TaskTimeout
from vtasks_asgi.core.outcome import Outcome
from vtasks_asgi.crew import Crew
from vtasks_asgi.interrupt import Interruptible
from vtasks_asgi.run import Run
from vtasks_asgi.runtime.active import current
from vtasks_asgi.stacks import coroutine_stack, thread_stack

#: Seconds a run gets to end after its time is over.
GRACE = 5.0

#: The outcome of a run left behind: the run, its error, and the stack where it hangs.
type Late = Callable[[Run, TaskTimeout, str], Coroutine[Any, Any, Outcome]]


class Limit:
    """``seconds`` for one call.

    If it is that of a ``run``, ``late`` is asked for the outcome when it does not end even then;
    the call of a batch has none, and is only asked to end.
    """

    def __init__(self, seconds: float, run: Run | None = None, late: Late | None = None) -> None:
        self._seconds = seconds
        self._run = run
        self._late = late

    async def coroutine(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Await ``work`` while there is time.

        Raises:
            TaskTimeout: it was cancelled, for its time was over.
        """
        task = asyncio.current_task()
        with self._watched(lambda: coroutine_stack(task and task.get_coro())):
            try:
                async with asyncio.timeout(self._seconds) as limit:
                    return await work()
            except TimeoutError as error:
                if not limit.expired():
                    raise
                lanes.current_lane.get().abandon()  # its thread may not come back
                raise self._error() from error

    async def thread[T](self, work: Callable[[], T], crew: Crew) -> T:
        """Send it to a thread, and await it while there is time.

        Raises:
            TaskTimeout: it was interrupted, for its time was over.
        """
        it = Interruptible(work)
        timer = asyncio.get_running_loop().call_later(self._seconds, it.interrupt)
        with self._watched(lambda: thread_stack(it.thread)):
            try:
                return await crew.run(it)
            except TaskInterrupt as error:
                raise self._error() from error
            finally:
                timer.cancel()

    @contextmanager
    def _watched(self, where: Callable[[], str]) -> Iterator[None]:
        """Leave it behind when time and grace are over; ``where`` tells its stack then."""
        run, runtime = self._run, current.get()
        if run is not None:
            run.ends_at = time.monotonic() + self._seconds
        if run is None or self._late is None or runtime is None or runtime.executions is None:
            yield
            return
        leave = partial(self._leave, run, self._late, where)
        with runtime.executions.limited(run.claim, self._seconds + GRACE, leave):
            try:
                yield
            finally:
                if run.left:
                    raise asyncio.CancelledError("left behind")

    async def _leave(self, run: Run, late: Late, where: Callable[[], str]) -> Outcome:
        run.left = True
        error, stack = self._error(f", and did not end within {GRACE:g} s"), where()
        error.add_note(f"It was left behind here:\n{stack}")
        return await late(run, error, stack)

    def _error(self, more: str = "") -> TaskTimeout:
        return TaskTimeout(f"it ran for longer than its timeout of {self._seconds:g} s{more}")
