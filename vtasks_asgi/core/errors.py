"""The errors the pure core and the stores share."""


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
