"""How our side is run: the runtime of ``runworker``, and the wrapper."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.inprocess import App
from benchmarks.sides.django_tasks import enqueue
from benchmarks.sides.vtasks_bulk import enqueue_many
from vtasks_asgi.asgi import get_worker_application
from vtasks_asgi.assembly import assemble

__all__ = ["enqueue", "enqueue_many", "worker", "wrap"]


@asynccontextmanager
async def worker(concurrency: int) -> AsyncIterator[None]:
    """A worker of the default queue in the running loop; leaving drains it."""
    runtime = assemble(queues=["default"], concurrency=concurrency, scheduler=False)
    running = asyncio.create_task(runtime.run())
    try:
        yield
    finally:
        runtime.close()
        await running


def wrap(app: App) -> App:
    """Our all-in-one application around ``app``."""
    wrapped: App = get_worker_application(app)
    return wrapped
