"""Async views, the same for every side."""

import asyncio
import time
from collections.abc import Awaitable, Iterator

from django.http import HttpRequest, HttpResponse, JsonResponse

from benchmarks.jobs.cpu import cpu_seconds
from benchmarks.sides.base import current
from benchmarks.sides.ledger import ledger


async def hello(request: HttpRequest) -> HttpResponse:
    """As little as a view can do."""
    return HttpResponse(b"hello", content_type="text/plain")


async def counts(request: HttpRequest) -> JsonResponse:
    """What the tasks of this process counted."""
    return JsonResponse(ledger.counts() | {"now": time.perf_counter(), "last": ledger.last})


async def send_stamp(request: HttpRequest) -> HttpResponse:
    """Enqueue one task that notes how long it took to start."""
    await current().enqueue("stamp", time.monotonic_ns())
    return HttpResponse(b"sent", content_type="text/plain")


async def enqueue(request: HttpRequest) -> JsonResponse:
    """Await the enqueueing of ``count`` no-ops in ``coroutines`` coroutines at once."""
    count, coroutines, warmup = _numbers(request, "count", "coroutines", "warmup")
    await _one_by_one(iter(range(warmup)))
    numbers = iter(range(count))

    async def together() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(coroutines):
                group.create_task(_one_by_one(numbers))

    return await _timed(together())


async def enqueue_many(request: HttpRequest) -> JsonResponse:
    """Await the enqueueing of ``count`` no-ops, ``batch`` of them in each bulk call."""
    count, batch, warmup = _numbers(request, "count", "batch", "warmup")
    await _in_batches(warmup, batch)
    return await _timed(_in_batches(count, batch))


def _numbers(request: HttpRequest, *names: str) -> list[int]:
    return [int(request.GET[name]) for name in names]


async def _one_by_one(numbers: Iterator[int]) -> None:
    enqueue_one = current().enqueue
    for number in numbers:
        await enqueue_one("noop", number)


async def _in_batches(count: int, batch: int) -> None:
    bulk = current().enqueue_many
    assert bulk is not None, "this side has no bulk call"
    for begin in range(0, count, batch):
        await bulk("noop", [(number,) for number in range(begin, min(begin + batch, count))])


async def _timed(work: Awaitable[None]) -> JsonResponse:
    cpu, begin = cpu_seconds(), time.perf_counter()
    await work
    seconds, cpu = time.perf_counter() - begin, cpu_seconds() - cpu
    return JsonResponse({"seconds": seconds, "cpu": cpu})
