"""How long an enqueued task waits for an idle worker, in the same process and in another."""

import random

from benchmarks.bench import Bench, WrongCount
from benchmarks.scenario import OURS, PEER, Metric, Sample, Scenario, Side, Sizes, Target
from benchmarks.stats import percentile

CONCURRENCY = 100
METRICS = (
    Metric("median", "ms", 2, compared=True),
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
    database = await bench.database(side)
    pace = _pace(sizes)
    said = await bench.run("latency", side, database, consume=True, **pace)
    bench.discard(database)
    return _summary(side, said["arrivals"], sizes["count"])


async def other_process(bench: Bench, side: Side, sizes: Sizes) -> Sample:
    database = await bench.database(side)
    pace = _pace(sizes)
    async with await bench.start("serve", side, database, concurrency=CONCURRENCY) as worker:
        await worker.event("progress", 60)
        await bench.run("latency", side, database, consume=False, **pace)
        while worker.executed < sizes["count"]:
            await worker.event("progress", 10)
        await worker.order()
        said = await worker.event("result", 60)
    bench.discard(database)
    return _summary(side, said["arrivals"], sizes["count"])


#: The pauses between samples outlast the peer's polling back-off (up to 1 s): idle means idle.
FULL = {
    "peer": {"count": 25, "gap": (1.5, 2.5)},
    "ours": {"count": 70, "gap": (0.3, 0.7)},
}
SMOKE = {"peer": {"count": 2, "gap": (0.2, 0.4)}, "ours": {"count": 5, "gap": (0.02, 0.1)}}

SCENARIOS = (
    Scenario(
        name="latency-same-process",
        title="from enqueue to start of execution, idle worker in the same process",
        measure=same_process,
        sides=(PEER, OURS),
        metrics=METRICS,
        sizes=FULL,
        smoke=SMOKE,
        targets=(Target("median", 3.0, at_least=False),),
    ),
    Scenario(
        name="latency-other-process",
        title="from enqueue to start of execution, idle worker in another process",
        measure=other_process,
        sides=(PEER, OURS),
        metrics=METRICS,
        sizes=FULL,
        smoke=SMOKE,
        targets=(Target("median", 60.0, at_least=False),),
    ),
)
