"""What a batch saves: a row inserted by each task, and by one statement for many of them."""

import json
from dataclasses import replace

from benchmarks.bench import Bench
from benchmarks.process import WrongCount
from benchmarks.scenario import Metric, Sample, Sizes
from benchmarks.side import Side

#: The defaults of a site: as many tasks at once singly, and the batch of the documents' example.
CONCURRENCY = 20
BATCH = {"VTASKS_BATCH_QUEUES": json.dumps({"default": {"count": 500, "timeout": 0.2}})}

METRICS = (
    Metric("singly", "tasks/s"),
    Metric("singly_cpu", "CPU µs/task", 1),
    Metric("batch", "tasks/s"),
    Metric("batch_cpu", "CPU µs/task", 1),
    Metric("gain", "x", 1),
)


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
    async with bench.place(side) as place:
        said = await bench.run(
            "inserts", side, place, count=count, concurrency=CONCURRENCY, batch=batch
        )
        if not said["rows"] == said["different"] == count:
            raise WrongCount(f"{side.name}: {said['rows']} rows, {said['different']} of {count}")
        bench.nothing_left(side, place)
    return {"rate": count / said["seconds"], "cpu": said["cpu"] / count * 1e6}
