"""How django-tasks-db is run: ``db_worker --no-startup-delay``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django_tasks_db.management.commands.db_worker import Worker

from benchmarks.sides.django_tasks import enqueue
from benchmarks.sides.plain import wrap
from benchmarks.sides.threaded import in_thread

__all__ = ["enqueue", "enqueue_many", "worker", "wrap"]

#: It has no bulk call.
enqueue_many = None


@asynccontextmanager
async def worker(concurrency: int) -> AsyncIterator[None]:
    """One worker, which runs one task at a time."""
    consumer = Worker(
        queue_names=["default"],
        interval=1,
        batch=False,
        backend_name="default",
        startup_delay=False,
        max_tasks=None,
        worker_id="benchmark",
        excluded_queue_names=[],
    )

    def stop() -> None:
        consumer.running = False

    async with in_thread(consumer.run, stop):
        yield
