"""What a request pays for the worker beside it: the cost of ``get_worker_application``."""

from statistics import median

from benchmarks.bench import Bench
from benchmarks.scenario import OURS, PEER, Metric, Sample, Scenario, Side, Sizes


async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
    sample: Sample = {}
    for inner in ("trivial", "django"):
        database = await bench.database(side)
        said = await bench.run("wrapper", side, database, inner=inner, **sizes[inner])
        sample[f"{inner}_bare"] = median(bare for bare, _ in said["pairs"])
        sample[f"{inner}_added"] = median(full - bare for bare, full in said["pairs"])
        bench.discard(database)
    return sample


SIZES = {
    "trivial": {"count": 500, "blocks": 300},
    "django": {"count": 10, "blocks": 800},
}
SMOKE = {"trivial": {"count": 50, "blocks": 4}, "django": {"count": 10, "blocks": 4}}

SCENARIO = Scenario(
    name="wrapper-overhead",
    title="time a request gains by going through get_worker_application, worker idle",
    measure=measure,
    sides=(PEER, OURS),
    metrics=(
        Metric("trivial_added", "µs/request", 2),
        Metric("trivial_bare", "µs/request", 2),
        Metric("django_added", "µs/request", 2),
        Metric("django_bare", "µs/request", 2),
    ),
    sizes={"peer": SIZES, "ours": SIZES},
    smoke={"peer": SMOKE, "ours": SMOKE},
)
