"""``VTaskContext``: what a task that takes its context may know, tell and keep."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from django.tasks import TaskContext
from django.utils.asyncio import async_unsafe

from vtasks_asgi.core.follow import Parent
from vtasks_asgi.core.note import Progress
from vtasks_asgi.groups import Group
from vtasks_asgi.notes import Notes
from vtasks_asgi.runtime.active import current
from vtasks_asgi.store.base import Claim

if TYPE_CHECKING:

    class _TaskContext(TaskContext[..., Any]): ...

else:
    _TaskContext = TaskContext


class Running(Protocol):
    """The run that a context shows."""

    claim: Claim
    notes: Notes | None
    alias: str

    @property
    def cancelled(self) -> bool: ...
    @property
    def number(self) -> int: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...
    @property
    def group_id(self) -> str | None: ...
    @property
    def parent(self) -> Parent | None: ...
    @property
    def deadline(self) -> datetime | None: ...
    def remaining(self) -> float | None: ...
    def result(self) -> Any: ...


class VTaskContext(_TaskContext):
    """Django's context of a running task, and more; the first argument of who takes it."""

    __slots__ = ("_begin_notes", "_run")
    _run: Running
    _begin_notes: Callable[[], Notes]

    def __init__(self, run: Running, begin_notes: Callable[[], Notes]) -> None:
        object.__setattr__(self, "_run", run)
        object.__setattr__(self, "_begin_notes", begin_notes)

    @property
    def task_result(self) -> Any:  # type: ignore[override]
        """The result as of now: running, with the errors of earlier attempts."""
        return self._run.result()

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1; those count whose worker vanished."""
        return self._run.number

    @property
    def fence(self) -> str:
        """``id:attempt``, for idempotency keys and fencing where the effects of a task are."""
        return f"{self._run.claim.id}:{self._run.claim.attempt}"

    @property
    def cancelled(self) -> bool:
        """Whether somebody has asked for this task to end."""
        return self._run.cancelled

    @property
    def stopping(self) -> bool:
        """Whether the worker is draining: a good moment to save a checkpoint and return."""
        runtime = current.get()
        return runtime is not None and runtime.stopping

    @property
    def deadline(self) -> datetime | None:
        """When the attempt's ``timeout`` is over; None without one."""
        return self._run.deadline

    def remaining(self) -> float | None:
        """Seconds until then, 0 or more; None without a timeout."""
        return self._run.remaining()

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the task was enqueued with, by ``using(metadata=...)``."""
        return self._run.metadata

    @property
    def group(self) -> Group | None:
        """The group it is a member of, or whose callback it is; None without one."""
        id = self._run.group_id
        return None if id is None else Group(id, self._run.alias)

    @property
    def parent(self) -> Parent | None:
        """The id, and the return value, of the task it came after by ``then``; None without one."""
        return self._run.parent

    # -- notes

    def _notes(self) -> Notes:
        if self._run.notes is None:
            self._run.notes = self._begin_notes()
        return self._run.notes

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Tell how far the task is; see ``VTaskResult.progress``. Never waits.

        Written at most twice a second, and the last one in any case.

        Raises:
            ValueError: an argument is no amount, or no text.
        """
        self._notes().progress(Progress(done, total, message))

    def load(self, default: Any = None) -> Any:
        """What was last saved, in this attempt or an earlier one; ``default`` if nothing was."""
        saved = self._notes().load()
        return default if saved is None else saved

    @async_unsafe("save() may wait for the store; use asave()")
    def save(self, value: Any) -> bool:
        """Keep a checkpoint for the next attempt, if there has to be one.

        Stored when this returns, if it is the first for half a second; else soon, and with
        whatever becomes of the attempt.

        Returns:
            False once another worker has the task, because this one's lease ran out.

        Raises:
            TypeError, ValueError: it is not plain JSON.
            PayloadTooLarge: over ``OPTIONS["MAX_PAYLOAD"]`` bytes encoded.
            SynchronousOnlyOperation: from a coroutine, for it may wait for the store.
        """
        notes = self._notes()
        notes.keep(value)
        return notes.wait_written()

    async def asave(self, value: Any) -> bool:
        """``save`` from a coroutine."""
        notes = self._notes()
        notes.keep(value)
        return await notes.written()
