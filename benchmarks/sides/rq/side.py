"""How django-tasks-rq is run: ``rqworker --job-class django_tasks_rq.Job``, a fork per task."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django_rq.workers import get_worker

from benchmarks.sides.django_tasks import enqueue
from benchmarks.sides.forked import in_child
from benchmarks.sides.plain import wrap

__all__ = ["enqueue", "enqueue_many", "worker", "wrap"]

#: RQ has a bulk call, which this backend does not offer.
enqueue_many = None


def _work() -> None:
    get_worker("default", job_class="django_tasks_rq.Job").work(logging_level="WARNING")


@asynccontextmanager
async def worker(concurrency: int) -> AsyncIterator[None]:
    """One worker, which runs one task at a time."""
    async with in_child(_work, lambda pid: os.kill(pid, signal.SIGTERM)):
        yield
