"""What the tables weigh once many tasks have gone through them, with nobody looking after them."""

import time

from benchmarks.bench import Bench, conserved
from benchmarks.engines.postgres import Postgres
from benchmarks.scenario import Metric, Sample, Sizes
from benchmarks.side import Side

CONCURRENCY = 100
METRICS = (
    Metric("tables", "MiB at the end", 1),
    Metric("dead", "dead rows"),
    Metric("rate", "tasks/s in and out"),
    Metric("wal", "B of WAL/task", less=True),
)


async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
    """One process enqueues in bulk, another works off what comes."""
    count, engine = sizes["count"], bench.engine
    assert isinstance(engine, Postgres)
    async with bench.place(side) as place:
        written, begin = engine.written(), time.perf_counter()
        async with await bench.start("serve", side, place, concurrency=CONCURRENCY) as worker:
            await worker.event("progress", 60)
            await bench.run("preload", side, place, task="noop", count=count)
            while worker.executed < count:
                await worker.event("progress", 60)
            seconds = time.perf_counter() - begin
            await worker.order()
            conserved(side, await worker.event("result", 60), count)
        bench.nothing_left(side, place)
        return {
            "tables": engine.kept(place) / 2**20,
            "dead": engine.dead(place),
            "rate": count / seconds,
            "wal": (engine.written() - written) / count,
        }
