"""Every error this package raises; a driver's own errors are mapped to these once per store."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

from vtasks_asgi.core.errors import (
    DiscardTask,
    MessageUndecodable,
    PayloadTooLarge,
    ResultUnserialisable,
    RetryTask,
    StoreError,
    StoreUnavailable,
    TaskCancelled,
    TaskInterrupt,
    TaskTimeout,
    VTasksError,
    WorkerLost,
)

if TYPE_CHECKING:
    from django.tasks.base import TaskError

__all__ = [
    "ConfigurationError",
    "DiscardTask",
    "GroupDoesNotExist",
    "MessageUndecodable",
    "PayloadTooLarge",
    "ResultUnserialisable",
    "RetryTask",
    "StoreError",
    "StoreUnavailable",
    "TaskCancelled",
    "TaskFailed",
    "TaskInterrupt",
    "TaskTimeout",
    "VTasksError",
    "WorkerLost",
]


class ConfigurationError(VTasksError, ImproperlyConfigured):
    """Settings or options are wrong; each of ``args`` names one of them and the fix."""

    def __str__(self) -> str:
        return "; ".join(map(str, self.args))


class GroupDoesNotExist(VTasksError, LookupError):
    """Asked for a group that is not kept: never opened, not committed yet, or past its time."""


class TaskFailed(VTasksError):
    """Raised to who waits for a task that was given up on. Its last traceback is a note of this.

    Args:
        id: of the result.
        task: dotted path of the function.
        reason: why it was given up on, such as ``max_attempts``, ``discarded`` or ``expired``.
        errors: one for each failed attempt.
    """

    def __init__(
        self, id: str, task: str, reason: str | None, errors: Sequence["TaskError"]
    ) -> None:
        last = f", last with {errors[-1].exception_class_path}" if errors else ""
        super().__init__(f"task {task} ({id}) was given up on: {reason or 'failed'}{last}")
        self.id = id
        self.task = task
        self.reason = reason
        self.errors = list(errors)
        if errors and errors[-1].traceback:
            self.add_note(errors[-1].traceback)
