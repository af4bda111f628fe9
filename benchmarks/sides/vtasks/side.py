"""How django-vtasks is run, as its own runworker and benchmark command do it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django.tasks import task_backends
from django_vtasks.asgi import get_worker_application
from django_vtasks.worker import Worker

from benchmarks.inprocess import App
from benchmarks.sides.django_tasks import enqueue
from benchmarks.sides.vtasks_bulk import enqueue_many

__all__ = ["enqueue", "enqueue_many", "worker", "wrap"]


@asynccontextmanager
async def worker(concurrency: int) -> AsyncIterator[None]:
    """A worker of the default queue in the running loop; leaving drains it."""
    consumer = Worker(task_backends["default"], ["default"], concurrency)
    running = asyncio.create_task(consumer.run(handle_signals=False))
    try:
        yield
    finally:
        await consumer.stop()
        await running


def wrap(app: App) -> App:
    """Its all-in-one application around ``app``."""
    wrapped: App = get_worker_application(app)
    return wrapped
