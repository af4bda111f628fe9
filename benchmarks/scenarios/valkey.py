"""What is measured on Valkey: throughput, beside the server and away from it."""

from benchmarks.catalogue import (
    CELERY,
    CELERY_RESULTS,
    OURS,
    OURS_BARE,
    RQ,
    SAQ,
    SAQ_RESULTS,
    VTASKS,
    needing,
)
from benchmarks.measures import depth, distance, enqueue, process
from benchmarks.scenario import Scenario, Target, counts

CONCURRENCY = 200
KEPT, BARE = needing("vtasks_asgi.backends.valkey", OURS, OURS_BARE)
PEERS = (VTASKS,)
OTHERS = (VTASKS, CELERY, RQ, SAQ)

ENQUEUEING = (
    Scenario(
        name="enqueue-sequential",
        title="one coroutine in an async view awaiting one enqueue after another",
        measure=enqueue.one_by_one,
        sides=(*OTHERS, KEPT),
        metrics=enqueue.METRICS,
        sizes=counts({"coroutines": 1}, vtasks=8_000, celery=2_000, rq=600, saq=2_000, ours=15_000),
        smoke={},
        peers=PEERS,
        targets=(Target("rate", 1.7, at_least=True, ratio=True),),
    ),
    Scenario(
        name="enqueue-concurrent",
        title="100 coroutines in an async view, each awaiting one enqueue after another",
        measure=enqueue.one_by_one,
        sides=(*OTHERS, KEPT),
        metrics=enqueue.METRICS,
        sizes=counts(
            {"coroutines": 100}, vtasks=15_000, celery=2_000, rq=600, saq=4_000, ours=100_000
        ),
        smoke=counts({"coroutines": 100}, celery=200, rq=200, saq=200, ours=1_000),
        peers=PEERS,
        targets=(Target("rate", 4.5, at_least=True, ratio=True),),
    ),
    Scenario(
        name="enqueue-many",
        title="one coroutine in an async view awaiting bulk calls of 1,000 each",
        measure=enqueue.in_bulk,
        sides=(VTASKS, CELERY, KEPT),
        metrics=enqueue.METRICS,
        sizes=counts({"batch": 1_000}, vtasks=30_000, celery=3_000, ours=200_000),
        smoke=counts({"batch": 100}, vtasks=200, ours=1_000),
        peers=PEERS,
        targets=(Target("rate", 4.0, at_least=True, ratio=True),),
    ),
)

PROCESSING = (
    Scenario(
        name="process-noop",
        title=f"no-op async tasks processed by one worker process, {CONCURRENCY} at a time",
        measure=process.measure("noop", CONCURRENCY),
        sides=(*OTHERS, CELERY_RESULTS, SAQ_RESULTS, BARE, KEPT),
        metrics=process.METRICS,
        sizes=counts(vtasks=10_000, celery=3_000, rq=100, saq=3_000, ours=200_000),
        smoke=counts(vtasks=200, celery=100, rq=5, saq=100, ours=1_000),
        peers=PEERS,
        targets=(
            Target("rate", 13.0, at_least=True, ratio=True, side=BARE.name),
            Target("rate", 9.0, at_least=True, ratio=True),
            Target("rss", 1.0, at_least=False, ratio=True),
        ),
    ),
    Scenario(
        name="process-sleep",
        title=f"async tasks that sleep for 10 ms, {CONCURRENCY} at a time",
        measure=process.measure("sleep", CONCURRENCY),
        sides=(*OTHERS, BARE, KEPT),
        metrics=(*process.METRICS, process.SHARE),
        sizes=counts(vtasks=10_000, celery=3_000, rq=100, saq=3_000, ours=150_000),
        smoke={},
        peers=PEERS,
        targets=(Target("share", 90.0, at_least=True, side=BARE.name),),
    ),
    Scenario(
        name="process-sync-noop",
        title=f"no-op synchronous tasks, {CONCURRENCY} at a time",
        measure=process.measure("sync_noop", CONCURRENCY),
        sides=(*OTHERS, BARE, KEPT),
        metrics=process.METRICS,
        sizes=counts(vtasks=15_000, celery=3_000, rq=100, saq=3_000, ours=60_000),
        smoke={},
        peers=PEERS,
        targets=(Target("rate", 2.0, at_least=True, ratio=True, side=BARE.name),),
    ),
    Scenario(
        name="process-sync-sleep",
        title=f"synchronous tasks that sleep for 10 ms, {CONCURRENCY} at a time",
        measure=process.measure("sync_sleep", CONCURRENCY),
        sides=(*OTHERS, BARE, KEPT),
        metrics=(*process.METRICS, process.SHARE),
        sizes=counts(vtasks=1_500, celery=3_000, rq=100, saq=1_500, ours=30_000),
        smoke={},
        peers=PEERS,
        targets=(Target("rate", 15.0, at_least=True, ratio=True, side=BARE.name),),
    ),
    Scenario(
        name="process-away",
        title="no-op async tasks with 2 ms to the server and back",
        measure=distance.measure,
        sides=(VTASKS, CELERY, SAQ, BARE),
        metrics=distance.METRICS,
        sizes=counts(
            {"concurrency": CONCURRENCY}, vtasks=1_000, celery=500, saq=1_000, ours=50_000
        ),
        smoke=counts({"concurrency": CONCURRENCY}, ours=1_000),
        peers=PEERS,
        targets=(Target("rate", 35.0, at_least=True, ratio=True, side=BARE.name),),
    ),
    Scenario(
        name="depth",
        title=f"no-op async tasks with {depth.PAYLOAD} B each from a deep queue and from a shallow",
        measure=depth.measure,
        sides=(VTASKS, BARE),
        metrics=depth.METRICS,
        sizes={
            "vtasks": {"shallow": 2_000, "deep": 20_000, "concurrency": CONCURRENCY},
            "ours": {"shallow": 10_000, "deep": 1_000_000, "concurrency": CONCURRENCY},
        },
        smoke={},
        targets=(
            Target("share", 85.0, at_least=True, side=BARE.name),
            Target("bytes", 700.0, at_least=False, side=BARE.name),
        ),
    ),
)

SCENARIOS = (*ENQUEUEING, *PROCESSING)
