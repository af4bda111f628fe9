"""Every error this package raises; a driver's own errors are mapped to these once per store."""

from django.core.exceptions import ImproperlyConfigured

from vtasks_asgi.core.errors import (
    MessageUndecodable,
    PayloadTooLarge,
    ResultUnserialisable,
    StoreError,
    StoreUnavailable,
    TaskCancelled,
    VTasksError,
    WorkerLost,
)

__all__ = [
    "ConfigurationError",
    "MessageUndecodable",
    "PayloadTooLarge",
    "ResultUnserialisable",
    "StoreError",
    "StoreUnavailable",
    "TaskCancelled",
    "VTasksError",
    "WorkerLost",
]


class ConfigurationError(VTasksError, ImproperlyConfigured):
    """Settings or options are wrong; each of ``args`` names one of them and the fix."""

    def __str__(self) -> str:
        return "; ".join(map(str, self.args))
