"""How dj-queue is run: the supervisor of ``dj_queue --mode async``, with all its parts."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from dj_queue.contrib.asgi import DjQueueLifespan
from django.tasks import task_backends

from benchmarks.inprocess import lifespan
from benchmarks.sides.base import Call
from benchmarks.sides.dj_queue.settings import WORKER
from benchmarks.sides.django_tasks import enqueue
from benchmarks.sides.plain import wrap
from benchmarks.sides.tasks import TASKS

__all__ = ["enqueue", "enqueue_many", "worker", "wrap"]


async def enqueue_many(task: str, calls: Sequence[Call]) -> object:
    """Its own bulk call."""
    backend: Any = task_backends["default"]
    return await backend.aenqueue_all([(TASKS[task], list(call), {}) for call in calls])


@asynccontextmanager
async def worker(concurrency: int) -> AsyncIterator[None]:
    """Its embedded mode, around no application: worker, dispatcher and scheduler in threads."""
    WORKER["threads"] = concurrency
    async with lifespan(DjQueueLifespan(None, forward_wrapped_lifespan=False)):
        yield
