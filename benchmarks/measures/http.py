"""Does the site stay quick while tasks flood through the same process?

Latency of a trivial async view at a constant rate, once with the worker idle and once with a deep
queue being worked off as fast as the worker allows.
"""

import asyncio
from dataclasses import replace
from typing import Any

from benchmarks.bench import Bench, conserved
from benchmarks.process import WrongCount
from benchmarks.scenario import Metric, Sample, Sizes
from benchmarks.server import Server, serving
from benchmarks.side import Side
from benchmarks.stats import percentile

RATE = 200
#: The default of both packages, which is what an all-in-one site runs with.
CONCURRENCY = 20
METRICS = (
    Metric("slowdown", "x idle p99", 2),
    Metric("idle_p50", "ms", 2),
    Metric("flood_p50", "ms", 2),
    Metric("idle_p99", "ms", 2),
    Metric("flood_p99", "ms", 2),
    Metric("tasks", "tasks/s", compared=True),
    Metric("requests", "counted"),
    Metric("client_p99", "ms late itself", 2),
)


async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
    side = replace(side, env={**side.env, "BENCH_CONCURRENCY": str(CONCURRENCY)})
    async with bench.place(side) as place, serving(bench, side, place) as server:
        await _load(bench, side, server, sizes["warmup"])
        calm = await _load(bench, side, server, sizes["seconds"])
    idle, late = calm["latencies"], calm["late"]
    flood, tasks = await _flooded(bench, side, sizes)
    idle_p99, flood_p99 = percentile(idle, 0.99) * 1e3, percentile(flood, 0.99) * 1e3
    return {
        "idle_p50": percentile(idle, 0.5) * 1e3,
        "idle_p99": idle_p99,
        "flood_p50": percentile(flood, 0.5) * 1e3,
        "flood_p99": flood_p99,
        "slowdown": flood_p99 / idle_p99,
        "tasks": tasks,
        "requests": len(flood),
        "client_p99": percentile(late, 0.99) * 1e3,
    }


async def _flooded(bench: Bench, side: Side, sizes: Sizes) -> tuple[list[float], float]:
    """Latencies of requests due while tasks ran, and how many tasks ran a second."""
    count = sizes["count"]
    async with bench.place(side, task="noop", count=count) as place:
        async with serving(bench, side, place) as server:
            await _load(bench, side, server, sizes["warmup"])
            before = await server.counts()
            load = await _load(bench, side, server, sizes["seconds"])
            after = await server.counts()
            conserved(side, await _drained(server, count), count)
        bench.nothing_left(side, place)
    end = after["last"] if after["executed"] == count else after["now"]
    kept = [
        latency
        for number, latency in enumerate(load["latencies"])
        if load["start"] + number / RATE < end
    ]
    if not kept:
        raise WrongCount(f"{side.name}: {count} tasks did not last until the first request")
    return kept, (after["executed"] - before["executed"]) / (end - before["now"])


async def _load(bench: Bench, side: Side, server: Server, seconds: float) -> dict[str, Any]:
    command = ("-m", "benchmarks.load", str(server.port), str(RATE), str(seconds))
    async with await bench.spawn(command, side) as client:
        result = await client.event("result", seconds + 60)
    if min(result["latencies"]) < 0:
        raise WrongCount(f"{side.name}: requests went unanswered\n{client.log_tail()}")
    return result


async def _drained(server: Server, count: int) -> dict[str, Any]:
    """The counts once all is executed, or when nothing more is."""
    counted = await server.counts()
    while counted["executed"] < count:
        executed = counted["executed"]
        await asyncio.sleep(3.0 if counted["now"] - counted["last"] > 1.0 else 0.2)
        counted = await server.counts()
        if counted["executed"] == executed and counted["now"] - counted["last"] > 10:
            break
    return counted
