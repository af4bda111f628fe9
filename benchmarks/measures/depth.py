"""Does a deep queue slow the worker down, and what does a waiting task weigh on the server?"""

from statistics import median

from benchmarks.bench import Bench
from benchmarks.measures.process import drained
from benchmarks.scenario import Metric, Sample, Sizes
from benchmarks.side import Side

PAYLOAD = 300
#: A shallow queue is gone in an instant, so it is measured several times.
REPEATS = 5
METRICS = (
    Metric("share", "% of shallow", 1),
    Metric("deep", "tasks/s deep", compared=True),
    Metric("shallow", "tasks/s shallow", compared=True),
    Metric("bytes", f"B/task of {PAYLOAD}", compared=True, less=True),
)


async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
    """Rates from the first to the last execution, with ``sizes`` queued."""
    shallow = [await _rate(bench, side, sizes, "shallow") for _ in range(REPEATS)]
    deep = await _rate(bench, side, sizes, "deep")
    rate = median(each["rate"] for each in shallow)
    return {
        "share": 100 * deep["rate"] / rate,
        "deep": deep["rate"],
        "shallow": rate,
        "bytes": deep["bytes"],
    }


async def _rate(bench: Bench, side: Side, sizes: Sizes, which: str) -> Sample:
    count, concurrency = sizes[which], sizes["concurrency"]
    async with bench.place(side, task="noop", count=count, payload=PAYLOAD) as place:
        kept = bench.engine.kept(place) or 0.0
        found = await drained(bench, side, place, count=count, concurrency=concurrency)
    return {"rate": found["busy"], "bytes": kept / count}
