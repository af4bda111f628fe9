"""How many tasks a second can be enqueued, each awaited until it is stored.

From an async view of the side's application; if that embeds a worker, it consumes another queue.
"""

from dataclasses import replace
from typing import Any

from benchmarks.bench import Bench
from benchmarks.process import WrongCount
from benchmarks.scenario import Metric, Sample, Sizes
from benchmarks.side import Side

WARMUP = 20
METRICS = (
    Metric("rate", "tasks/s", compared=True),
    Metric("cpu", "CPU µs/task", 1, compared=True, less=True),
    Metric("server_cpu", "server's µs/task", 1, compared=True, less=True),
)


async def one_by_one(bench: Bench, side: Side, sizes: Sizes) -> Sample:
    """``coroutines`` of them, each awaiting one enqueue after another."""
    return await _measure(bench, side, sizes, "enqueue", coroutines=sizes["coroutines"])


async def in_bulk(bench: Bench, side: Side, sizes: Sizes) -> Sample:
    """One coroutine awaiting one bulk call of ``batch`` tasks after another."""
    return await _measure(bench, side, sizes, "enqueue-many", batch=sizes["batch"])


async def _measure(bench: Bench, side: Side, sizes: Sizes, view: str, **query: Any) -> Sample:
    count = sizes["count"]
    side = replace(side, env={**side.env, "BENCH_QUEUES": "elsewhere"})
    query |= {"count": count, "warmup": WARMUP}
    engine = bench.engine
    async with bench.place(side) as place:
        cpu = engine.cpu()
        said = await bench.run("enqueue", side, place, view=view, query=query)
        stored = engine.pending(side.package, place)
        sample = {"rate": count / said["seconds"], "cpu": said["cpu"] / count * 1e6}
        if cpu is not None:
            sample["server_cpu"] = ((engine.cpu() or 0.0) - cpu) / (count + WARMUP) * 1e6
    if stored != count + WARMUP:
        raise WrongCount(f"{side.name}: {stored} stored of {count + WARMUP} acknowledged")
    return sample
