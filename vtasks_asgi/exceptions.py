"""Every error this package raises; a driver's own errors are mapped to these once per store."""

from django.core.exceptions import ImproperlyConfigured

from vtasks_asgi.core.errors import (
    MessageUndecodable,
    PayloadTooLarge,
    ResultUnserialisable,
    StoreError,
    StoreUnavailable,
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
    "VTasksError",
    "WorkerLost",
]


class ConfigurationError(VTasksError, ImproperlyConfigured):
    """A setting or option is wrong; the message names it and the fix."""
