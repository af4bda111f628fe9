"""How long an enqueued task waits for an idle worker, in the same process and in another."""

import random

from benchmarks.bench import Bench
from benchmarks.process import WrongCount
from benchmarks.scenario import Metric, Sample, Sizes
from benchmarks.side import Side
from benchmarks.stats import percentile

CONCURRENCY = 100
METRICS = (
    Metric("median", "ms", 2, compared=True, less=True),
    Metric("p99", "ms", 2),
    Metric("worst", "ms", 2),
)


def _summary(side: Side, arrivals: list[int], count: int) -> Sample:
    if len(arrivals) != count:
        raise WrongCount(f"{side.name}: {len(arrivals)} tasks arrived, {count} were sent")
    waits = [nanoseconds / 1e6 for nanoseconds in arrivals]
    return {
        "median": percentile(waits, 0.5),
        "p99": percentile(waits, 0.99),
        "worst": max(waits),
    }


def _pace(sizes: Sizes) -> dict[str, object]:
    return {
        "count": sizes["count"],
        "gap": sizes["gap"],
        "seed": random.randrange(1 << 30),
    }


async def same_process(bench: Bench, side: Side, sizes: Sizes) -> Sample:
    async with bench.place(side) as place:
        said = await bench.run("latency", side, place, consume=True, **_pace(sizes))
    return _summary(side, said["arrivals"], sizes["count"])


async def other_process(bench: Bench, side: Side, sizes: Sizes) -> Sample:
    concurrency = sizes.get("concurrency", CONCURRENCY)
    async with bench.place(side) as place:
        async with await bench.start("serve", side, place, concurrency=concurrency) as worker:
            await worker.event("progress", 60)
            await bench.run("latency", side, place, consume=False, **_pace(sizes))
            while worker.executed < sizes["count"]:
                await worker.event("progress", 10)
            await worker.order()
            said = await worker.event("result", 60)
    return _summary(side, said["arrivals"], sizes["count"])
