"""The bulk call that we have from our ancestor, which is the same on both."""

from collections.abc import Sequence
from typing import Any

from django.tasks import task_backends

from benchmarks.sides.base import Call
from benchmarks.sides.tasks import TASKS


async def enqueue_many(task: str, calls: Sequence[Call]) -> object:
    """``aenqueue_many`` of the backend."""
    backend: Any = task_backends["default"]
    return await backend.aenqueue_many([(TASKS[task], call, {}) for call in calls])
