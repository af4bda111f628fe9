"""How Celery is run: ``celery worker --pool threads --without-mingle --without-gossip``.

Without the two options a worker waits for a second until it looks at the queue.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from asgiref.sync import sync_to_async
from celery import Celery, group
from celery.worker import WorkController, state

from benchmarks.sides.base import Call
from benchmarks.sides.plain import wrap
from benchmarks.sides.tasks import TASKS
from benchmarks.sides.threaded import in_thread

__all__ = ["enqueue", "enqueue_many", "worker", "wrap"]

app = Celery("benchmarks")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Nobody's imports are measured; Celery would do these when the worker starts.
for _late in ("celery.concurrency.thread", "celery.worker.autoscale", "kombu.transport.redis"):
    import_module(_late)


def _task(name: str) -> Any:
    # It runs no coroutines, so its no-op and its sleep are the synchronous ones.
    function = TASKS[f"sync_{name.removeprefix('sync_')}"].func
    return app.task(name=name, shared=False)(function)


_tasks = {name: _task(name) for name in ("noop", "sleep", "sync_noop", "sync_sleep")}


async def enqueue(task: str, *args: Any) -> object:
    """``delay`` blocks, so it is called as Django's documentation says of such calls."""
    return await sync_to_async(_tasks[task].delay)(*args)


async def enqueue_many(task: str, calls: Sequence[Call]) -> object:
    """A group, which is what Celery has for many calls at once."""
    signatures = group([_tasks[task].s(*call) for call in calls])
    return await sync_to_async(signatures.apply_async)()


@asynccontextmanager
async def worker(concurrency: int) -> AsyncIterator[None]:
    """A worker of its default queue in a thread."""
    consumer = WorkController(
        app=app, pool="threads", concurrency=concurrency, without_mingle=True, without_gossip=True
    )

    def stop() -> None:
        state.should_stop = 0

    async with in_thread(consumer.start, stop):
        yield
    state.should_stop = None
