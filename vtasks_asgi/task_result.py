"""``VTaskResult``: Django's result, with waiting for it, and what a task tells while it runs."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from django.tasks import TaskResult, TaskResultStatus
from django.tasks.base import TASK_REFRESH_ATTRS
from django.utils.asyncio import async_unsafe

from vtasks_asgi.core.note import Progress, decode_note
from vtasks_asgi.exceptions import TaskFailed
from vtasks_asgi.runtime.active import runtime_of
from vtasks_asgi.store.control import Cancel

P = ParamSpec("P")
R = TypeVar("R")

#: Seconds between two looks at a result that is waited for: first, last, and how they grow.
POLL_FIRST, POLL_LAST, POLL_FACTOR = 0.02, 1.0, 1.5

_REFRESHED = (*TASK_REFRESH_ATTRS, "reason", "note")

#: How the fields of one just accepted follow from its call; ``results`` says so.
LATE: dict[str, Callable[[Any], Any]] = {}


if TYPE_CHECKING:

    class _TaskResult(TaskResult[P, R]): ...

else:

    class _TaskResult(TaskResult):
        """Django's TaskResult is generic for type checkers only.

        One just accepted has the ``_call`` instead of fields that are filled in when looked at.
        """

        __slots__ = ("_call",)

        def __class_getitem__(cls, item):
            return cls

        def __getattr__(self, name):
            if name not in LATE:
                raise AttributeError(f"a task's result has no attribute {name!r}")
            value = LATE[name](self._call)
            object.__setattr__(self, name, value)
            return value


@dataclass(frozen=True, slots=True, kw_only=True)
class VTaskResult(_TaskResult[P, R]):  # type: ignore[misc] # Django's is frozen, its stub not
    """The result of a task on one of our backends.

    Args:
        reason: why a failed one was given up on, such as ``max_attempts`` or ``expired``.
        note: what the task has noted, as the store keeps it; see ``progress``.
    """

    reason: str | None = None
    note: bytes | None = field(default=None, repr=False)

    @property
    def progress(self) -> Progress | None:
        """What the task last told with ``context.progress``, as of the last refresh."""
        return decode_note(self.note).progress if self.note else None

    def refresh(self) -> None:
        """Read it anew from the store.

        Raises:
            TaskResultDoesNotExist: it is no longer kept.
        """
        self._take_over(self.task.get_backend().get_result(self.id))

    async def arefresh(self) -> None:
        """``refresh`` from a coroutine."""
        self._take_over(await self.task.get_backend().aget_result(self.id))

    def _take_over(self, fresh: "TaskResult[Any, Any]") -> None:
        for name in _REFRESHED:
            object.__setattr__(self, name, getattr(fresh, name))

    def cancel(self) -> Cancel | None:
        """Let the task not run, or not run again; see ``cancel`` of the backend."""
        backend: Any = self.task.get_backend()
        answer: Cancel | None = backend.cancel(self.id)
        return answer

    async def acancel(self) -> Cancel | None:
        """``cancel`` from a coroutine."""
        backend: Any = self.task.get_backend()
        answer: Cancel | None = await backend.acancel(self.id)
        return answer

    async def await_result(self, timeout: float | None = None) -> R:
        """Wait until the task has finished, at most ``timeout`` seconds; what it returned.

        Known at once when this process runs the task, and else within a second.

        Raises:
            TaskFailed: it was given up on; says why.
            TimeoutError: it has not finished by then; it goes on.
            TaskResultDoesNotExist: it is not stored: not yet committed, or its result is not kept.
        """
        try:
            async with asyncio.timeout(timeout) as limit:
                await self._finish()
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TimeoutError(self._late(timeout)) from error
        return self._outcome()

    async def _finish(self) -> None:
        if self.is_finished:
            return
        runtime = runtime_of(self.backend)
        if runtime is None or not runtime.is_mine():
            await self._poll(asyncio.sleep)
            return
        with runtime.settled.expected(self.id) as news:
            await self._poll(news.wait)

    async def _poll(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        for pause in pauses():
            await self.arefresh()
            if self.is_finished:
                return
            await sleep(pause)

    @async_unsafe("wait() would block the event loop; use await_result()")
    def wait(self, timeout: float | None = None) -> R:
        """``await_result`` for synchronous code; the thread sleeps meanwhile.

        Raises:
            SynchronousOnlyOperation: from a coroutine, whose event loop this would block.
        """
        for _ in looks(timeout, self._late):
            if not self.is_finished:
                self.refresh()
            if self.is_finished:
                break
        return self._outcome()

    def _late(self, timeout: float | None) -> str:
        return f"task {self.task.module_path} ({self.id}) has not finished within {timeout:g} s"

    def _outcome(self) -> R:
        if self.status is TaskResultStatus.SUCCESSFUL:
            return self.return_value
        raise TaskFailed(self.id, self.task.module_path, self.reason, self.errors)


def looks(timeout: float | None, late: Callable[[float | None], str]) -> Iterator[None]:
    """Each time to look at something, for a thread, which sleeps in between.

    Raises:
        TimeoutError: with what ``late`` says, after the first look past ``timeout`` seconds.
    """
    end = None if timeout is None else time.monotonic() + timeout
    for pause in pauses():
        yield
        left = pause if end is None else end - time.monotonic()
        if left <= 0:
            raise TimeoutError(late(timeout))
        time.sleep(min(pause, left))


def pauses() -> Iterator[float]:
    """How long to wait before each next look; jitter keeps many waiters apart."""
    pause = POLL_FIRST
    while True:
        yield pause * (0.75 + random.random() / 2)
        pause = min(pause * POLL_FACTOR, POLL_LAST)
