"""What a project's own tests need; docs/testing.md shows it at work."""

from vtasks_asgi.testing.asserts import assert_enqueued, enqueued, refute_enqueued
from vtasks_asgi.testing.backends import immediate_tasks, memory_tasks
from vtasks_asgi.testing.capture import Captured, capture_tasks
from vtasks_asgi.testing.drain import adrain, drain

__all__ = [
    "Captured",
    "adrain",
    "assert_enqueued",
    "capture_tasks",
    "drain",
    "enqueued",
    "immediate_tasks",
    "memory_tasks",
    "refute_enqueued",
]
