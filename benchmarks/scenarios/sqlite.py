"""What is measured on SQLite: a site that is one process and one file."""

from benchmarks.catalogue import OURS, OURS_BARE, OURS_LOGGED, VTASKS
from benchmarks.measures import batch, crowd, enqueue, http, latency, memory, process, wrapper
from benchmarks.scenario import Scenario, Sizes, Target, counts
from benchmarks.side import Side

CONCURRENCY = 100
PEERS = (VTASKS,)
TWIN = Side("ours, peer's site", "ours", {"BENCH_SITE": "yes"})

#: The pauses between samples outlast the peer's polling back-off (up to 1 s): idle means idle.
PACES = {
    "vtasks": {"count": 25, "gap": (1.5, 2.5)},
    "ours": {"count": 70, "gap": (0.3, 0.7)},
}
QUICK: dict[str, Sizes] = {"ours": {"count": 5, "gap": (0.02, 0.1)}}
WRAPPED = {
    "trivial": {"count": 500, "blocks": 300},
    "django": {"count": 10, "blocks": 800},
}
WRAPPED_QUICK = {"trivial": {"count": 50, "blocks": 4}, "django": {"count": 10, "blocks": 4}}

SCENARIOS = (
    Scenario(
        name="process-noop",
        title=f"no-op async tasks processed by one worker process, {CONCURRENCY} at a time",
        measure=process.measure("noop", CONCURRENCY),
        sides=(VTASKS, OURS, OURS_BARE, OURS_LOGGED),
        metrics=process.METRICS,
        sizes=counts(vtasks=2_000, ours=100_000),
        smoke=counts(vtasks=100, ours=1_000),
        peers=PEERS,
        targets=(Target("rate", 60.0, at_least=True, ratio=True),),
    ),
    Scenario(
        name="enqueue-concurrent",
        title="100 coroutines in an async view awaiting aenqueue, durable when awaited",
        measure=enqueue.one_by_one,
        sides=(VTASKS, OURS, OURS_BARE),
        metrics=enqueue.METRICS,
        sizes=counts({"coroutines": 100}, vtasks=3_000, ours=50_000),
        smoke=counts({"coroutines": 100}, ours=1_000),
        peers=PEERS,
        targets=(Target("rate", 15.0, at_least=True, ratio=True),),
    ),
    Scenario(
        name="enqueue-sequential",
        title="one coroutine in an async view awaiting aenqueue again and again",
        measure=enqueue.one_by_one,
        sides=(VTASKS, OURS),
        metrics=enqueue.METRICS,
        sizes=counts({"coroutines": 1}, vtasks=2_000, ours=5_000),
        smoke=counts({"coroutines": 1}, ours=100),
        peers=PEERS,
        targets=(Target("rate", 2.5, at_least=True, ratio=True),),
    ),
    Scenario(
        name="latency-same-process",
        title="from enqueue to start of execution, idle worker in the same process",
        measure=latency.same_process,
        sides=(VTASKS, OURS),
        metrics=latency.METRICS,
        sizes=PACES,
        smoke=QUICK,
        peers=PEERS,
        targets=(Target("median", 3.0, at_least=False),),
    ),
    Scenario(
        name="latency-other-process",
        title="from enqueue to start of execution, idle worker in another process",
        measure=latency.other_process,
        sides=(VTASKS, OURS),
        metrics=latency.METRICS,
        sizes=PACES,
        smoke=QUICK,
        peers=PEERS,
        targets=(Target("median", 60.0, at_least=False),),
    ),
    Scenario(
        name="http-under-load",
        title=f"a trivial async view under Granian at {http.RATE} requests/s, idle and while tasks"
        " flood",
        measure=http.measure,
        sides=(VTASKS, OURS),
        metrics=http.METRICS,
        sizes=counts({"warmup": 1.0, "seconds": 8.0}, vtasks=4_000, ours=250_000),
        smoke=counts({"warmup": 0.2, "seconds": 0.5}, ours=20_000),
        peers=PEERS,
        targets=(
            Target("slowdown", 2.5, at_least=False),
            Target("tasks", 5_000.0, at_least=True),
        ),
    ),
    Scenario(
        name="wrapper-overhead",
        title="time a request gains by going through get_worker_application, worker idle",
        measure=wrapper.measure,
        sides=(VTASKS, OURS),
        metrics=wrapper.METRICS,
        sizes={"vtasks": WRAPPED, "ours": WRAPPED},
        smoke={"ours": WRAPPED_QUICK},
    ),
    Scenario(
        name="memory-idle",
        title="memory of all processes of an idle all-in-one site under the Granian command",
        measure=memory.measure,
        sides=(VTASKS, OURS, TWIN),
        metrics=memory.METRICS,
        sizes={"vtasks": {"settle": 6.0}, "ours": {"settle": 6.0}},
        smoke={"ours": {"settle": 0.5}},
        peers=PEERS,
        targets=(Target("pss", 75.0, at_least=False),),
    ),
    Scenario(
        name="batch-insert",
        title="a row inserted by each of many tasks, singly and by one statement for a batch",
        measure=batch.measure,
        sides=(OURS,),
        metrics=batch.METRICS,
        sizes={"ours": {"singly": 5_000, "batch": 50_000}},
        smoke={"ours": {"singly": 200, "batch": 2_000}},
    ),
    Scenario(
        name="4-processes",
        title=f"{crowd.PROCESSES} worker processes on one file, {crowd.CONCURRENCY} tasks at a"
        " time each",
        measure=crowd.measure,
        sides=(VTASKS, OURS),
        metrics=crowd.METRICS,
        sizes=counts(vtasks=2_000, ours=60_000),
        smoke=counts(ours=1_000),
        peers=PEERS,
    ),
)
