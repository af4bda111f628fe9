"""How long a claim takes among the remains of finished tasks that nothing has cleaned up."""

from benchmarks.bench import Bench
from benchmarks.engines.postgres import Postgres
from benchmarks.measures.process import drained
from benchmarks.scenario import Metric, Sample, Sizes
from benchmarks.side import Side
from benchmarks.stats import percentile

CONCURRENCY = 100
METRICS = (
    Metric("p99", "ms", 2),
    Metric("median", "ms", 2),
    Metric("worst", "ms", 2),
    Metric("dead", "dead rows"),
)


async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
    """A reader's snapshot keeps every dead row until the end, as a long report or a backup does."""
    count, engine = sizes["count"], bench.engine
    assert isinstance(engine, Postgres)
    async with bench.place(side, task="noop", count=count) as place:
        with engine.connect(place) as reader:
            reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            reader.execute("SELECT count(*) FROM pg_class")
            await drained(bench, side, place, count=count, concurrency=CONCURRENCY)
            dead = engine.dead(place)
            said = await bench.run("claims", side, place, rounds=sizes["rounds"], batch=20)
            reader.execute("COMMIT")
    took = [seconds * 1e3 for seconds in said["took"]]
    return {
        "p99": percentile(took, 0.99),
        "median": percentile(took, 0.5),
        "worst": max(took),
        "dead": dead,
    }
