"""Four worker processes on one queue: throughput, and lock errors that surface."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

from benchmarks.bench import Bench, conserved
from benchmarks.process import Process, WrongCount
from benchmarks.scenario import Metric, Sample, Sizes
from benchmarks.side import Side

PROCESSES = 4
CONCURRENCY = 100
#: Seconds without one more execution after which a side has failed to finish.
PATIENCE = 45.0
METRICS = (
    Metric("rate", "tasks/s", compared=True),
    Metric("cpu", "CPU µs/task", 1, compared=True, less=True),
    Metric("locked", "lock errors"),
    Metric("least", "% least share", 1),
)


async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
    count = sizes["count"]
    async with bench.place(side, task="noop", count=count) as place:
        said = await _worked_off(bench, side, place, count)
        totals = {key: sum(each[key] for each in said) for key in ("executed", "total", "squares")}
        conserved(side, totals, count)
        bench.nothing_left(side, place)
    return _sample(said, count)


async def _worked_off(bench: Bench, side: Side, place: str, count: int) -> list[dict[str, Any]]:
    """What each of the processes reported."""
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(
                await bench.start("serve", side, place, concurrency=CONCURRENCY, hold=True)
            )
            for _ in range(PROCESSES)
        ]
        await asyncio.gather(*(worker.event("ready", 60) for worker in workers))
        await asyncio.gather(*(worker.order() for worker in workers))
        await _finish(side, workers, count)
        await asyncio.gather(*(worker.order() for worker in workers))
        return await asyncio.gather(*(worker.event("result", 60) for worker in workers))


async def _finish(side: Side, workers: list[Process], count: int) -> None:
    """Until together they have executed ``count``."""
    best, since = -1, time.monotonic()
    while (executed := sum(worker.executed for worker in workers)) < count:
        if executed > best:
            best, since = executed, time.monotonic()
        elif time.monotonic() - since > PATIENCE:
            logs = "\n".join(worker.log_tail(500) for worker in workers)
            raise WrongCount(f"{side.name}: stuck at {executed} of {count}\n{logs}")
        await asyncio.gather(*(worker.event("progress", PATIENCE) for worker in workers))


def _sample(said: list[dict[str, Any]], count: int) -> Sample:
    seconds = max(each["last"] for each in said) - min(each["begin"] for each in said)
    shares = [each["executed"] / count for each in said]
    return {
        "rate": count / seconds,
        "cpu": sum(each["cpu"] for each in said) / count * 1e6,
        "locked": sum(each["locked"] for each in said),
        "least": min(shares) * 100,
    }
