"""What is measured on MariaDB: those that run there."""

from benchmarks.catalogue import (
    DJ_QUEUE,
    DJ_QUEUE_RESULTS,
    OURS,
    OURS_BARE,
    OX,
    TASKS_DB,
    VTASKS,
    needing,
)
from benchmarks.measures import process
from benchmarks.scenario import Scenario, Target, counts
from benchmarks.scenarios.postgres import CONCURRENCY, threaded

KEPT, BARE = needing("vtasks_asgi.store.database.mysql", OURS, OURS_BARE)
PEERS = (VTASKS, OX, DJ_QUEUE, DJ_QUEUE_RESULTS, TASKS_DB)

SCENARIOS = (
    Scenario(
        name="process-noop",
        title=f"no-op async tasks processed by one worker process, {CONCURRENCY} at a time",
        measure=process.measure("noop", CONCURRENCY),
        sides=(*PEERS, BARE, KEPT),
        metrics=process.METRICS,
        sizes=threaded(counts(vtasks=600, ox=300, dj_queue=300, tasks_db=300, ours=40_000)),
        smoke=counts(vtasks=30, ours=1_000),
        peers=PEERS,
        targets=(Target("rate", 15.0, at_least=True, ratio=True),),
    ),
)
