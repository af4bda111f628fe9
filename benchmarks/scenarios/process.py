"""How many no-op tasks one worker process gets through in a second."""

from benchmarks.bench import Bench, WrongCount, conserved
from benchmarks.scenario import (
    OURS,
    OURS_BARE,
    OURS_LOGGED,
    PEER,
    Metric,
    Sample,
    Scenario,
    Side,
    Sizes,
    Target,
)
from benchmarks.sides.pending import pending

CONCURRENCY = 100


async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
    count = sizes["count"]
    database = await bench.preloaded(side, count)
    said = await bench.run("work", side, database, count=count, concurrency=CONCURRENCY)
    conserved(side.name, said, count)
    if left := pending(side.package, database):
        raise WrongCount(f"{side.name}: {left} messages unfinished after all were executed")
    bench.discard(database)
    return {"rate": count / said["seconds"], "cpu": said["cpu"] / count * 1e6}


SCENARIO = Scenario(
    name="process-noop",
    title=f"no-op async tasks processed by one worker process, {CONCURRENCY} at a time",
    measure=measure,
    sides=(PEER, OURS, OURS_BARE, OURS_LOGGED),
    metrics=(
        Metric("rate", "tasks/s", compared=True),
        Metric("cpu", "CPU µs/task", 1, compared=True),
    ),
    sizes={"peer": {"count": 2_000}, "ours": {"count": 100_000}},
    smoke={"peer": {"count": 100}, "ours": {"count": 1_000}},
    targets=(Target("rate", 60.0, at_least=True, ratio=True),),
)
