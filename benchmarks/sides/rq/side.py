"""How django-tasks-rq is run: ``rqworker --job-class django_tasks_rq.Job``, a fork per task."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django_rq.workers import get_worker

from benchmarks.sides.django_tasks import enqueue
from benchmarks.sides.ledger import ledger
from benchmarks.sides.plain import wrap
from benchmarks.sides.threaded import in_thread

__all__ = ["enqueue", "enqueue_many", "worker", "wrap"]

#: RQ has a bulk call, which this backend does not offer.
enqueue_many = None


@asynccontextmanager
async def worker(concurrency: int) -> AsyncIterator[None]:
    """One worker, which runs one task at a time, until the queue is empty."""
    consumer = get_worker("default", job_class="django_tasks_rq.Job")
    # Signals are the main thread's; RQ needs them for Ctrl-C only.
    consumer._install_signal_handlers = lambda: None
    with ledger.counting_forks():
        async with in_thread(
            lambda: consumer.work(burst=True, logging_level="WARNING"), lambda: None
        ):
            yield
