"""Async views, the same for every side."""

import asyncio
import time
from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse, JsonResponse

from benchmarks.jobs.cpu import cpu_seconds
from benchmarks.sides.ledger import ledger
from benchmarks.sides.tasks import noop, stamp


async def hello(request: HttpRequest) -> HttpResponse:
    """As little as a view can do."""
    return HttpResponse(b"hello", content_type="text/plain")


async def counts(request: HttpRequest) -> JsonResponse:
    """What the tasks of this process counted."""
    return JsonResponse(ledger.counts() | {"now": time.perf_counter(), "last": ledger.last})


async def send_stamp(request: HttpRequest) -> HttpResponse:
    """Enqueue one task that notes how long it took to start."""
    await stamp.aenqueue(time.monotonic_ns())
    return HttpResponse(b"sent", content_type="text/plain")


async def enqueue(request: HttpRequest) -> JsonResponse:
    """Await ``aenqueue`` for ``count`` no-ops from ``coroutines`` coroutines at once."""
    count, coroutines, warmup = (
        int(request.GET[name]) for name in ("count", "coroutines", "warmup")
    )
    await _enqueue(iter(range(warmup)))
    numbers = iter(range(count))
    cpu, begin = cpu_seconds(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(coroutines):
            group.create_task(_enqueue(numbers))
    seconds, cpu = time.perf_counter() - begin, cpu_seconds() - cpu
    return JsonResponse({"seconds": seconds, "cpu": cpu})


async def _enqueue(numbers: Iterator[int]) -> None:
    for number in numbers:
        await noop.aenqueue(number)
