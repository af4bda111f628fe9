"""What a request pays for the worker beside it: the cost of ``get_worker_application``."""

from statistics import median

from benchmarks.bench import Bench
from benchmarks.scenario import Metric, Sample, Sizes
from benchmarks.side import Side

METRICS = (
    Metric("trivial_added", "µs/request", 2),
    Metric("trivial_bare", "µs/request", 2),
    Metric("django_added", "µs/request", 2),
    Metric("django_bare", "µs/request", 2),
)


async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
    sample: Sample = {}
    for inner in ("trivial", "django"):
        async with bench.place(side) as place:
            said = await bench.run("wrapper", side, place, inner=inner, **sizes[inner])
        sample[f"{inner}_bare"] = median(bare for bare, _ in said["pairs"])
        sample[f"{inner}_added"] = median(full - bare for bare, full in said["pairs"])
    return sample
