"""How saq is run: the worker of ``saq settings``, with its queue on the same server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from django.conf import settings
from saq import Queue, Worker

from benchmarks.sides.plain import wrap
from benchmarks.sides.tasks import TASKS, is_async

__all__ = ["enqueue", "enqueue_many", "worker", "wrap"]

#: It has none; ``map`` waits for the results.
enqueue_many = None

queue = Queue.from_url(settings.BROKER)
#: Seconds a result is kept: the default, or -1 for not at all.
TTL = 600 if settings.RESULTS else -1


def _function(name: str) -> Any:
    task = TASKS[name].func

    async def run(context: Any, *, args: list[Any]) -> None:
        await task(*args)

    def run_sync(context: Any, *, args: list[Any]) -> None:
        task(*args)

    return run if is_async(name) else run_sync


async def enqueue(task: str, *args: Any) -> object:
    """Its only way, a coroutine."""
    return await queue.enqueue(task, args=args, ttl=TTL)


@asynccontextmanager
async def worker(concurrency: int) -> AsyncIterator[None]:
    """A worker in the running loop. Stopping one cancels, so leaving waits for an empty queue."""
    functions = [(name, _function(name)) for name in TASKS]
    consumer = Worker(queue, functions=functions, concurrency=concurrency)
    running = asyncio.create_task(consumer.start())
    try:
        yield
        async with asyncio.timeout(10):
            while await queue.count("incomplete"):
                await asyncio.sleep(0.05)
    finally:
        await consumer.stop()
        await running
        await queue.disconnect()
