"""How django-ox is run: ``ox_worker --concurrency N``."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from asgiref.sync import sync_to_async
from django_ox import bulk
from django_ox.worker import Worker

from benchmarks.sides.base import Call
from benchmarks.sides.django_tasks import enqueue
from benchmarks.sides.plain import wrap
from benchmarks.sides.tasks import TASKS
from benchmarks.sides.threaded import in_thread

__all__ = ["enqueue", "enqueue_many", "worker", "wrap"]


async def enqueue_many(task: str, calls: Sequence[Call]) -> object:
    """Its bulk call blocks."""
    return await sync_to_async(bulk.enqueue_many)(TASKS[task], [(call, {}) for call in calls])


@asynccontextmanager
async def worker(concurrency: int) -> AsyncIterator[None]:
    """One worker process with so many threads."""
    consumer = Worker(concurrency=concurrency)
    async with in_thread(consumer.run, consumer.request_stop):
        yield
