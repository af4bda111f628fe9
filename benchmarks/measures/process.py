"""How many tasks one worker process gets through in a second."""

from collections.abc import Awaitable, Callable

from benchmarks.bench import Bench, conserved
from benchmarks.scenario import Metric, Sample, Sizes
from benchmarks.side import Side
from benchmarks.sides import NAP

METRICS = (
    Metric("rate", "tasks/s", compared=True),
    Metric("cpu", "CPU µs/task", 1, compared=True, less=True),
    Metric("server_cpu", "server's µs/task", 1, compared=True, less=True),
    Metric("rss", "MiB of worker", 1, compared=True, less=True),
)
#: Of how many naps a second there is room for.
SHARE = Metric("share", "% of the limit", 1)
#: Only PostgreSQL tells.
WAL = Metric("wal", "B of WAL/task", compared=True, less=True)


def measure(task: str, concurrency: int) -> Callable[[Bench, Side, Sizes], Awaitable[Sample]]:
    """A measurement of that task; ``sizes`` may name a side's own concurrency."""

    async def sample(bench: Bench, side: Side, sizes: Sizes) -> Sample:
        count = sizes["count"]
        at_once = sizes.get("concurrency", concurrency)
        async with bench.place(side, task=task, count=count) as place:
            found = await drained(bench, side, place, count=count, concurrency=at_once)
        return found | {"share": 100 * found["rate"] * NAP / at_once}

    return sample


async def drained(bench: Bench, side: Side, place: str, *, count: int, concurrency: int) -> Sample:
    """What it took to work off ``count`` waiting tasks, all of them once."""
    engine = bench.engine
    cpu, written = engine.cpu(), engine.written()
    said = await bench.run("work", side, place, count=count, concurrency=concurrency)
    conserved(side, said, count)
    bench.nothing_left(side, place)
    sample = {
        "rate": count / said["seconds"],
        "busy": (count - 1) / said["busy"] if count > 1 else 0.0,
        "cpu": said["cpu"] / count * 1e6,
        "rss": said["rss"],
    }
    if cpu is not None:
        sample["server_cpu"] = ((engine.cpu() or 0.0) - cpu) / count * 1e6
    if written is not None:
        sample["wal"] = ((engine.written() or 0.0) - written) / count
    return sample
