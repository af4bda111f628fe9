"""How many tasks a second can be enqueued, each awaited until it is stored.

From an async view of the all-in-one application, whose worker consumes another, empty queue.
"""

from dataclasses import replace

from benchmarks.bench import Bench, WrongCount
from benchmarks.scenario import OURS, OURS_BARE, PEER, Metric, Sample, Scenario, Side, Sizes, Target
from benchmarks.sides.pending import pending

WARMUP = 20
METRICS = (Metric("rate", "tasks/s", compared=True), Metric("cpu", "CPU µs/task", 1, compared=True))


async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
    count, coroutines = sizes["count"], sizes["coroutines"]
    side = replace(side, env={**side.env, "BENCH_QUEUES": "elsewhere"})
    database = await bench.database(side)
    said = await bench.run(
        "enqueue",
        side,
        database,
        count=count,
        coroutines=coroutines,
        warmup=WARMUP,
    )
    stored = pending(side.package, database)
    if stored != count + WARMUP:
        raise WrongCount(f"{side.name}: {stored} stored of {count + WARMUP} acknowledged")
    bench.discard(database)
    return {"rate": count / said["seconds"], "cpu": said["cpu"] / count * 1e6}


SCENARIOS = (
    Scenario(
        name="enqueue-concurrent",
        title="100 coroutines in an async view awaiting aenqueue, durable when awaited",
        measure=measure,
        sides=(PEER, OURS, OURS_BARE),
        metrics=METRICS,
        sizes={
            "peer": {"count": 3_000, "coroutines": 100},
            "ours": {"count": 50_000, "coroutines": 100},
        },
        smoke={
            "peer": {"count": 200, "coroutines": 100},
            "ours": {"count": 1_000, "coroutines": 100},
        },
        targets=(Target("rate", 15.0, at_least=True, ratio=True),),
    ),
    Scenario(
        name="enqueue-sequential",
        title="one coroutine in an async view awaiting aenqueue again and again",
        measure=measure,
        sides=(PEER, OURS),
        metrics=METRICS,
        sizes={
            "peer": {"count": 2_000, "coroutines": 1},
            "ours": {"count": 5_000, "coroutines": 1},
        },
        smoke={
            "peer": {"count": 100, "coroutines": 1},
            "ours": {"count": 100, "coroutines": 1},
        },
        targets=(Target("rate", 2.5, at_least=True, ratio=True),),
    ),
)
