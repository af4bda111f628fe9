"""How procrastinate is run: ``manage.py procrastinate worker --concurrency N``."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from procrastinate.contrib.django import app

from benchmarks.sides.base import Call
from benchmarks.sides.by_name import taking_args
from benchmarks.sides.plain import wrap
from benchmarks.sides.tasks import TASKS

__all__ = ["enqueue", "enqueue_many", "worker", "wrap"]

_tasks = {name: app.task(name=name, queue="default")(taking_args(name)) for name in TASKS}


async def enqueue(task: str, *args: Any) -> object:
    """Its own coroutine, which uses Django's connection."""
    return await _tasks[task].defer_async(args=args)


async def enqueue_many(task: str, calls: Sequence[Call]) -> object:
    """Its own bulk call."""
    return await _tasks[task].batch_defer_async(*({"args": call} for call in calls))


@asynccontextmanager
async def worker(concurrency: int) -> AsyncIterator[None]:
    """A worker in the running loop, with the connections its command gives it."""
    with app.replace_connector(app.connector.get_worker_connector()) as itself:
        async with itself.open_async():
            running = asyncio.create_task(
                itself.run_worker_async(concurrency=concurrency, install_signal_handlers=False)
            )
            yield
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
