"""How saq is run: the worker of ``saq settings``, with its queue on the same server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from saq import Queue, Worker

from benchmarks.sides.by_name import taking_args
from benchmarks.sides.plain import wrap
from benchmarks.sides.saq.settings import BROKER, RESULTS
from benchmarks.sides.tasks import TASKS

__all__ = ["enqueue", "enqueue_many", "worker", "wrap"]

#: It has none; ``map`` waits for the results.
enqueue_many = None

queue = Queue.from_url(BROKER)
#: Seconds a result is kept: the default, or -1 for not at all.
TTL = 600 if RESULTS else -1


async def enqueue(task: str, *args: Any) -> object:
    """Its only way, a coroutine."""
    return await queue.enqueue(task, args=args, ttl=TTL)


@asynccontextmanager
async def worker(concurrency: int) -> AsyncIterator[None]:
    """A worker in the running loop. Stopping one cancels, so leaving waits for an empty queue."""
    functions = [(name, taking_args(name)) for name in TASKS]
    consumer = Worker(queue, functions=functions, concurrency=concurrency)
    running = asyncio.create_task(consumer.start())
    try:
        yield
        async with asyncio.timeout(10):
            while await queue.count("incomplete"):  # noqa: ASYNC110 - only the server knows
                await asyncio.sleep(0.05)
    finally:
        await consumer.stop()
        await running
        await queue.disconnect()
