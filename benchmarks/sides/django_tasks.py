"""Enqueueing for sides that are backends of Django's tasks: its own API, nothing else."""

from typing import Any

from benchmarks.sides.tasks import TASKS


async def enqueue(task: str, *args: Any) -> object:
    """``Task.aenqueue``: the backend's own coroutine, or Django's, which uses a thread."""
    return await TASKS[task].aenqueue(*args)
