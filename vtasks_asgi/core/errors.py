"""The errors the pure core and the stores share, and what tasks raise to say what they want."""

import math


class VTasksError(Exception):
    """Base class of every error of this package."""


class StoreError(VTasksError):
    """The store refused or could not carry out a request."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, or is not ready; trying again later may work."""


class PayloadTooLarge(StoreError, ValueError):
    """The encoded call, or a return value, is over its size cap; nothing was written."""


class MessageUndecodable(StoreError, ValueError):
    """A stored body is not an envelope this version can read."""


class WorkerLost(VTasksError):
    """Recorded as an attempt's error: its worker vanished, or its lease ran out."""


class TaskCancelled(VTasksError):
    """The error of a task that was cancelled: before it began, or while it ran."""


class ResultUnserialisable(VTasksError, TypeError):
    """Recorded as an attempt's error: what the task returned cannot be kept as JSON."""


class TaskTimeout(VTasksError, TimeoutError):
    """Recorded as an attempt's error: it ran for longer than its task's ``timeout``."""


class TaskInterrupt(BaseException):
    """Raised within a synchronous task whose time is over, wherever it is; clean up and let it go.

    No ``Exception``, as ``asyncio.CancelledError`` is none, so that ``except Exception`` in a loop
    does not swallow it. What is recorded is ``TaskTimeout``.
    """


class RetryTask(VTasksError):
    """Raise it in a task to have it run again: a failure like any other, with a wait of its own.

    Args:
        message: for people, recorded with the attempt.
        delay: seconds until the next attempt; default is what the task's ``backoff`` says.

    Raises:
        ValueError: the delay is no number of seconds, 0 or more.
    """

    def __init__(self, message: str = "", *, delay: float | None = None) -> None:
        if delay is not None and not (
            type(delay) in (int, float) and 0 <= delay < math.inf  # a bool is no delay
        ):
            raise ValueError(f"RetryTask's delay is {delay!r}; it must be seconds, 0 or more")
        super().__init__(message or "the task asked to be run again")
        self.delay = delay


class DiscardTask(VTasksError):
    """Raise it in a task that is not worth trying again: it ends as a dead letter, ``discarded``.

    Args:
        reason: for people, recorded with the attempt.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "the task discarded itself")
        self.reason = reason
