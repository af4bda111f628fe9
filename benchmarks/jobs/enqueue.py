"""Await ``aenqueue`` for ``count`` no-ops from ``coroutines`` coroutines; one means in sequence.

The process ends without ceremony, so that the harness counts what was durable when awaited.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.child import say
from benchmarks.jobs.cpu import cpu_seconds
from benchmarks.sides.base import Side
from benchmarks.sides.tasks import noop


async def _enqueue(numbers: Iterator[int]) -> None:
    for number in numbers:
        await noop.aenqueue(number)


async def main(side: Side, params: dict[str, Any]) -> None:
    async with side.producer():
        await _enqueue(iter(range(params["warmup"])))
        numbers = iter(range(params["count"]))
        cpu, begin = cpu_seconds(), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(params["coroutines"]):
                group.create_task(_enqueue(numbers))
        seconds, cpu = time.perf_counter() - begin, cpu_seconds() - cpu
        say("result", seconds=seconds, cpu=cpu)
        os._exit(0)
