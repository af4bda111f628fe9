"""What is measured on PostgreSQL: a queue in the database that is there anyway."""

from collections.abc import Mapping

from benchmarks.catalogue import (
    DJ_QUEUE,
    DJ_QUEUE_RESULTS,
    OURS,
    OURS_BARE,
    OX,
    PROCRASTINATE,
    PROCRASTINATE_RESULTS,
    TASKS_DB,
    VTASKS,
    needing,
)
from benchmarks.measures import batch, bloat, claims, enqueue, latency, process
from benchmarks.scenario import Scenario, Sizes, Target, counts

CONCURRENCY = 200
#: Threads of those that have threads: what they were fastest with. One has none.
THREADS = {"ox": 20, "dj_queue": 10, "tasks_db": 1}
KEPT, BARE = needing("vtasks_asgi.store.database.postgres", OURS, OURS_BARE)
PEERS = (VTASKS, OX, DJ_QUEUE, TASKS_DB, PROCRASTINATE)
ALL = (*PEERS, DJ_QUEUE_RESULTS, PROCRASTINATE_RESULTS)


def threaded(sizes: Mapping[str, Sizes]) -> dict[str, Sizes]:
    """The same sizes with the concurrency of those that do not take so much."""
    return {
        package: {**size, "concurrency": THREADS.get(package, CONCURRENCY)}
        for package, size in sizes.items()
    }


#: Most peers look every second when they are idle; the pauses outlast that.
PEER_PACE: Sizes = {"count": 12, "gap": (1.2, 2.2)}

SCENARIOS = (
    Scenario(
        name="enqueue-sequential",
        title="one coroutine in an async view awaiting one enqueue after another",
        measure=enqueue.one_by_one,
        sides=(*PEERS, KEPT),
        metrics=enqueue.METRICS,
        sizes=counts(
            {"coroutines": 1},
            vtasks=2_000,
            ox=1_500,
            dj_queue=800,
            tasks_db=1_500,
            procrastinate=1_500,
            ours=4_000,
        ),
        smoke={},
        peers=PEERS,
        targets=(Target("rate", 1.2, at_least=True, ratio=True),),
    ),
    Scenario(
        name="enqueue-concurrent",
        title="100 coroutines in an async view, each awaiting one enqueue after another",
        measure=enqueue.one_by_one,
        sides=(*PEERS, KEPT),
        metrics=enqueue.METRICS,
        sizes=counts(
            {"coroutines": 100},
            vtasks=2_000,
            ox=1_500,
            dj_queue=1_000,
            tasks_db=1_500,
            procrastinate=1_500,
            ours=80_000,
        ),
        smoke=counts({"coroutines": 100}, ours=1_000),
        peers=PEERS,
        targets=(Target("rate", 15.0, at_least=True, ratio=True),),
    ),
    Scenario(
        name="process-noop",
        title=f"no-op async tasks processed by one worker process, {CONCURRENCY} at a time",
        measure=process.measure("noop", CONCURRENCY),
        sides=(*ALL, BARE, KEPT),
        metrics=(*process.METRICS, process.WAL),
        sizes=threaded(
            counts(vtasks=800, ox=600, dj_queue=500, tasks_db=400, procrastinate=500, ours=150_000)
        ),
        smoke=threaded(
            counts(vtasks=30, ox=30, dj_queue=30, tasks_db=30, procrastinate=30, ours=1_000)
        ),
        peers=ALL,
        targets=(
            Target("rate", 70.0, at_least=True, ratio=True, side=BARE.name),
            Target("rate", 45.0, at_least=True, ratio=True),
        ),
    ),
    Scenario(
        name="latency-other-process",
        title="from enqueue to start of execution, idle worker in another process",
        measure=latency.other_process,
        sides=(*PEERS, KEPT),
        metrics=latency.METRICS,
        sizes=threaded(
            {
                **{side.package: PEER_PACE for side in PEERS},
                "ours": {"count": 70, "gap": (0.3, 0.7)},
            }
        ),
        smoke={"ours": {"count": 5, "gap": (0.02, 0.1)}},
        peers=PEERS,
        targets=(Target("median", 5.0, at_least=False),),
    ),
    Scenario(
        name="claim-among-dead",
        title="claims of 20 where 100,000 finished tasks have left dead rows",
        measure=claims.measure,
        sides=(KEPT,),
        metrics=claims.METRICS,
        sizes=counts({"rounds": 500}, ours=100_000),
        smoke=counts({"rounds": 5}, ours=1_000),
        targets=(Target("p99", 20.0, at_least=False),),
    ),
    Scenario(
        name="batch-insert",
        title="a row inserted by each of many tasks, singly and by one statement for a batch",
        measure=batch.measure,
        sides=(KEPT,),
        metrics=batch.METRICS,
        sizes={"ours": {"singly": 5_000, "batch": 50_000}},
        smoke={"ours": {"singly": 200, "batch": 2_000}},
        targets=(Target("gain", 10.0, at_least=True),),
    ),
    Scenario(
        name="bloat",
        title="1,000,000 tasks go through while autovacuum does what it does",
        measure=bloat.measure,
        sides=(BARE, KEPT),
        metrics=bloat.METRICS,
        sizes=counts(ours=1_000_000),
        smoke={},
        long=True,
    ),
)
