"""What a batch saves: a row inserted by each task, and by one statement for many of them."""

import json
from dataclasses import replace

from benchmarks.bench import Bench, WrongCount
from benchmarks.scenario import OURS, Metric, Sample, Scenario, Side, Sizes, Target
from benchmarks.sides.pending import pending

#: The defaults of a site: as many tasks at once singly, and the batch of the documents' example.
CONCURRENCY = 20
BATCH = {"VTASKS_BATCH_QUEUES": json.dumps({"default": {"count": 500, "timeout": 0.2}})}


async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
    batches = replace(side, env={**side.env, **BATCH})
    singly = await _inserts(bench, side, sizes["singly"], batch=False)
    batch = await _inserts(bench, batches, sizes["batch"], batch=True)
    return {
        "singly": singly["rate"],
        "singly_cpu": singly["cpu"],
        "batch": batch["rate"],
        "batch_cpu": batch["cpu"],
        "gain": batch["rate"] / singly["rate"],
    }


async def _inserts(bench: Bench, side: Side, count: int, *, batch: bool) -> Sample:
    database = await bench.database(side)
    said = await bench.run(
        "inserts", side, database, count=count, concurrency=CONCURRENCY, batch=batch
    )
    if not said["rows"] == said["different"] == count:
        raise WrongCount(f"{side.name}: {said['rows']} rows, {said['different']} of {count}")
    if left := pending(side.package, database):
        raise WrongCount(f"{side.name}: {left} messages unfinished after all were executed")
    bench.discard(database)
    return {"rate": count / said["seconds"], "cpu": said["cpu"] / count * 1e6}


SCENARIO = Scenario(
    name="batch-insert",
    title="a row inserted by each of many tasks, singly and by one statement for a batch",
    measure=measure,
    sides=(OURS,),
    metrics=(
        Metric("singly", "tasks/s"),
        Metric("singly_cpu", "CPU µs/task", 1),
        Metric("batch", "tasks/s"),
        Metric("batch_cpu", "CPU µs/task", 1),
        Metric("gain", "x", 1),
    ),
    sizes={"ours": {"singly": 5_000, "batch": 50_000}},
    smoke={"ours": {"singly": 200, "batch": 2_000}},
    targets=(Target("gain", 10.0, at_least=True),),
)
