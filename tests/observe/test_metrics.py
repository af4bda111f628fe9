"""Events in, samples out: values, bounded labels, one registration, threads."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.fakes import FakeClock
from vtasks_asgi.core.errors import VTasksError
from vtasks_asgi.core.outcome import (
    CANCELLED,
    EXHAUSTED,
    UNDECODABLE,
    Dead,
    Done,
    Outcome,
    Release,
    Retry,
)
from vtasks_asgi.observe.collector import Families
from vtasks_asgi.observe.metrics import MAX_SERVICES, REASONS, Metrics
from vtasks_asgi.observe.tally import Histogram, RecentMax
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.store.base import Claim, QueueStats, Ticked
from vtasks_asgi.store.control import Cancellation

TASK = "app.tasks.send"
DOCS = Path(__file__).parents[2] / "docs" / "observability.md"


def claim(queue: str = "default", id: str = "0" * 32) -> Claim:
    return Claim(id, queue, b"", 0, "token", 1)


def known(name: str) -> bool:
    return name.startswith("app.tasks.")


def metrics(registry: CollectorRegistry, clock: FakeClock | None = None) -> Metrics:
    return Metrics(
        known_task=known,
        queues=["default", "mail"],
        schedules=["nightly"],
        registry=registry,
        clock=(clock or FakeClock()).now,
    )


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_a_scripted_day(registry: CollectorRegistry) -> None:
    clock = FakeClock()
    tell = Events([metrics(registry, clock)])
    tell.submitted(TASK, "default", 3)
    tell.submitted(TASK, "default", 2)
    tell.duplicate(TASK, "default", 3)
    tell.duplicate(TASK, "mail", 1)
    outcomes: list[Outcome] = [Done(b""), Done(b""), Retry(b"", 5.0), Dead(b"", EXHAUSTED)]
    for outcome in [*outcomes, Release()]:
        tell.started(claim(), TASK, 0.2)
        tell.finished(claim(), TASK, outcome, 0.05)
    tell.started(claim("mail"), TASK, -0.5)  # a clock stepped back: no negative wait
    tell.batch_ended("default", TASK, 100, 0.5, None)
    tell.batch_ended("default", TASK, 3, 0.25, ValueError())
    tell.batch_ended("default", "hostile", 1, 0.1, None)
    tell.evicted("default", 4)
    tell.stale([claim(), claim(), claim("mail")])
    tell.reclaimed("mail", [claim("mail")])
    tell.parked(claim("mail"), "app.unknown", 10.0)
    tell.left_behind(claim("mail"), TASK, "stack")
    tell.cancelled([claim(), claim(), claim("mail")])
    tell.cancel_asked(Cancellation({}, {"default": 2, "unheard": 1}, {}))
    tell.given_back(TASK, "mail", 3)
    tell.tick("nightly", 0.3, Ticked.FIRED)
    tell.tick("nightly", 0.4, Ticked.LATE)
    tell.tick("nightly", 0.5, Ticked.SKIPPED)
    tell.loop_lag(0.7, TASK)
    tell.loop_lag(0.1, None)
    tell.service_failed("fetch", ValueError("x"))
    tell.service_failed("fetch", ValueError("y"))
    seen = QueueStats(7, 2, 1, 5, 12.5, paused=True)
    tell.sampled({"default": seen, "unheard": QueueStats(9)})

    of_task = {"task_name": TASK, "queue": "default"}
    default, mail = {"queue": "default"}, {"queue": "mail"}
    nightly = {"schedule": "nightly"}
    expected: list[tuple[str, dict[str, str], object]] = [
        ("vtasks_tasks_submitted_total", of_task, 5),
        ("vtasks_tasks_duplicates_total", of_task, 3),
        ("vtasks_tasks_duplicates_total", {"task_name": TASK, "queue": "mail"}, 1),
        ("vtasks_tasks_processed_total", of_task | {"status": "success"}, 2),
        ("vtasks_tasks_processed_total", of_task | {"status": "retry"}, 1),
        ("vtasks_tasks_processed_total", of_task | {"status": "dead"}, 1),
        ("vtasks_tasks_processed_total", of_task | {"status": "released"}, 1),
        ("vtasks_task_duration_seconds_count", of_task, 5),
        ("vtasks_task_duration_seconds_sum", of_task, pytest.approx(0.25)),
        ("vtasks_task_duration_seconds_bucket", of_task | {"le": "0.025"}, 0),
        ("vtasks_task_duration_seconds_bucket", of_task | {"le": "0.1"}, 5),
        ("vtasks_task_duration_seconds_bucket", of_task | {"le": "+Inf"}, 5),
        ("vtasks_batch_size_count", of_task, 2),
        ("vtasks_batch_size_sum", of_task, 103),
        ("vtasks_batch_size_bucket", of_task | {"le": "5.0"}, 1),
        ("vtasks_batch_size_bucket", of_task | {"le": "100.0"}, 2),
        ("vtasks_batch_duration_seconds_sum", of_task, 0.75),
        ("vtasks_batch_failures_total", of_task, 1),
        ("vtasks_batch_size_count", {"task_name": "other", "queue": "default"}, 1),
        ("vtasks_active_tasks", default, 0),
        ("vtasks_active_tasks", mail, 1),
        ("vtasks_queue_latency_seconds_sum", default, pytest.approx(1.0)),
        ("vtasks_queue_latency_seconds_sum", mail, 0),
        ("vtasks_retries_total", default, 1),
        ("vtasks_dead_letters_total", default | {"reason": EXHAUSTED}, 1),
        ("vtasks_dead_letters_total", default | {"reason": CANCELLED}, 2),
        ("vtasks_dead_letters_total", {"queue": "other", "reason": CANCELLED}, 1),
        ("vtasks_cancelled_total", default, 2),
        ("vtasks_given_back_total", mail, 3),
        ("vtasks_queue_paused", default, 1),
        ("vtasks_dead_letter_evictions_total", default, 4),
        ("vtasks_stale_settle_total", default, 2),
        ("vtasks_stale_settle_total", mail, 1),
        ("vtasks_reclaimed_total", mail, 1),
        ("vtasks_parked_total", mail, 1),
        ("vtasks_left_behind_total", mail, 1),
        ("vtasks_queue_depth", default, 7),
        ("vtasks_queue_delayed", default, 2),
        ("vtasks_queue_dead_letters", default, 5),
        ("vtasks_queue_oldest_ready_seconds", default, 12.5),
        ("vtasks_queue_sampled_timestamp_seconds", {}, clock.now()),
        ("vtasks_ticks_total", nightly, 1),
        ("vtasks_ticks_skipped_total", nightly, 1),
        ("vtasks_tick_lateness_seconds_sum", nightly, pytest.approx(0.3)),
        ("vtasks_loop_lag_seconds", {}, 0.1),
        ("vtasks_loop_lag_max_seconds", {}, 0.7),
        ("vtasks_service_failures_total", {"service": "fetch"}, 2),
    ]
    told = [(name, labels, registry.get_sample_value(name, labels)) for name, labels, _ in expected]
    assert told == expected
    assert registry.get_sample_value("vtasks_queue_depth", {"queue": "unheard"}) is None
    assert registry.get_sample_value("vtasks_queue_depth", mail) is None  # never sampled


def test_a_dead_letter_without_a_run_is_no_run(registry: CollectorRegistry) -> None:
    it = metrics(registry)
    it.given_up(claim(), "", Dead(b"", UNDECODABLE))
    it.given_up(claim("unheard"), TASK, Dead(b"", "nonsense"))
    for queue, reason in (("default", UNDECODABLE), ("other", "other")):
        labels = {"queue": queue, "reason": reason}
        assert registry.get_sample_value("vtasks_dead_letters_total", labels) == 1
    assert registry.get_sample_value("vtasks_active_tasks", {"queue": "default"}) == 0
    processed = next(f for f in registry.collect() if f.name == "vtasks_tasks_processed")
    assert processed.samples == []


def test_configured_queues_and_schedules_start_at_zero(registry: CollectorRegistry) -> None:
    metrics(registry)
    assert registry.get_sample_value("vtasks_stale_settle_total", {"queue": "mail"}) == 0
    assert registry.get_sample_value("vtasks_ticks_total", {"schedule": "nightly"}) == 0


def test_openmetrics_is_well_formed(registry: CollectorRegistry) -> None:
    tell = Events([metrics(registry)])
    tell.submitted(TASK, "default", 1)
    tell.finished(claim(), TASK, Dead(b"", EXHAUSTED), 0.05)
    text = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]
    parsed = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    names = {family.name for family in parsed}
    assert names == {family.name for family in Families().all()}


def hostile(tell: Events, name: str) -> None:
    """Everything a stranger could name, named ``name``."""
    tell.submitted(name, name, 1)
    tell.submitted(name, "default", 1)
    tell.started(claim(name), name, 0.1)
    tell.finished(claim(name), name, Dead(b"", name), 0.1)
    tell.finished(claim(), name, Dead(b"", name), 0.1)
    tell.stale([claim(name)])
    tell.reclaimed(name, [claim(name)])
    tell.evicted(name, 1)
    tell.tick(name, 0.1, Ticked.FIRED)
    tell.sampled({name: QueueStats()})


def series(registry: CollectorRegistry) -> int:
    return sum(len(family.samples) for family in registry.collect())


def test_hostile_names_do_not_grow_the_series(registry: CollectorRegistry) -> None:
    tell = Events([metrics(registry)])
    hostile(tell, "../../etc/passwd")
    before = series(registry)
    for number in range(10_000):
        hostile(tell, f'os.system("{number}")\n')
    assert series(registry) == before
    other = {"task_name": "other", "queue": "other"}
    assert registry.get_sample_value("vtasks_tasks_submitted_total", other) == 10_001
    reason = {"queue": "default", "reason": "other"}
    assert registry.get_sample_value("vtasks_dead_letters_total", reason) == 10_001
    assert b"os.system" not in generate_latest(registry)


def test_services_are_fused(registry: CollectorRegistry) -> None:
    tell = Events([metrics(registry)])
    for number in range(MAX_SERVICES + 5):
        tell.service_failed(f"service-{number}", ValueError())
    failures = next(f for f in registry.collect() if f.name == "vtasks_service_failures")
    assert len(failures.samples) == MAX_SERVICES + 1
    assert registry.get_sample_value("vtasks_service_failures_total", {"service": "other"}) == 5


def test_a_task_registered_later_gets_its_own_series(registry: CollectorRegistry) -> None:
    names: set[str] = set()
    it = Metrics(known_task=names.__contains__, queues=["default"], registry=registry)
    it.submitted("late", "default", 1)
    names.add("late")
    it.submitted("late", "default", 1)
    labels = {"task_name": "late", "queue": "default"}
    assert registry.get_sample_value("vtasks_tasks_submitted_total", labels) == 1


def test_the_registry_is_asked_once_for_a_known_task(registry: CollectorRegistry) -> None:
    asked: list[str] = []

    def ask(name: str) -> bool:
        asked.append(name)
        return True

    it = Metrics(known_task=ask, queues=["default"], registry=registry)
    for _ in range(3):
        it.finished(claim(), TASK, Done(b""), 0.1)
    assert asked == [TASK]


def test_a_second_instance_continues_the_numbers(registry: CollectorRegistry) -> None:
    metrics(registry).submitted(TASK, "default", 1)
    metrics(registry).submitted(TASK, "default", 1)
    labels = {"task_name": TASK, "queue": "default"}
    assert registry.get_sample_value("vtasks_tasks_submitted_total", labels) == 2


def test_names_taken_by_another_package_are_a_clear_error(registry: CollectorRegistry) -> None:
    Counter("vtasks_tasks_submitted", "Somebody else's.", registry=registry)
    with pytest.raises(VTasksError, match="another package has registered"):
        metrics(registry)


def test_registries_do_not_share_numbers(registry: CollectorRegistry) -> None:
    other = CollectorRegistry()
    metrics(registry).submitted(TASK, "default", 1)
    metrics(other)
    labels = {"task_name": TASK, "queue": "default"}
    assert other.get_sample_value("vtasks_tasks_submitted_total", labels) is None


def test_counts_from_two_threads_are_not_lost(registry: CollectorRegistry) -> None:
    it = metrics(registry)
    adding, second_done = threading.Event(), threading.Event()

    class Slow(int):
        """Adding it leaves time for another thread's whole addition, were there no lock."""

        def __radd__(self, count: int) -> int:
            adding.set()
            second_done.wait(0.2)
            return count + 1

    first = threading.Thread(target=it.submitted, args=(TASK, "default", Slow(1)))
    first.start()
    adding.wait()
    it.submitted(TASK, "default", 1)
    second_done.set()
    first.join()
    labels = {"task_name": TASK, "queue": "default"}
    assert registry.get_sample_value("vtasks_tasks_submitted_total", labels) == 2


@pytest.mark.parametrize(
    ("value", "bucket"),
    [(0.0, 0), (1.0, 0), (1.000001, 1), (2.0, 1), (2.5, 2), (float("inf"), 2)],
)
def test_an_upper_bound_belongs_to_its_bucket(value: float, bucket: int) -> None:
    histogram = Histogram([1.0, 2.0])
    histogram.observe(value)
    assert histogram.counts[bucket] == 1
    assert sum(histogram.counts) == 1


def test_the_recent_maximum_lasts_one_to_two_windows() -> None:
    clock = FakeClock()
    worst = RecentMax(60.0, clock.monotonic)
    worst.add(3.0)
    worst.add(1.0)
    seen = []
    for _ in range(5):
        seen.append(worst.read())
        clock.advance(30.0)
    assert seen == [3.0, 3.0, 3.0, 3.0, 0.0]


def test_the_recent_maximum_forgets_after_a_long_silence() -> None:
    clock = FakeClock()
    worst = RecentMax(60.0, clock.monotonic)
    worst.add(3.0)
    clock.advance(500.0)
    assert worst.read() == 0.0


def test_libraries_are_loaded_only_when_used() -> None:
    program = (
        "import sys\n"
        "from vtasks_asgi.observe import endpoints, exporter, health_file, logs, metrics\n"
        "early = {'prometheus_client', 'starlette', 'anyio'} & set(sys.modules)\n"
        "assert not early, early\n"
        "from prometheus_client import REGISTRY\n"
        "for _ in range(2):\n"
        "    metrics.Metrics(known_task=bool, queues=['q'])\n"
        "name, labels = 'vtasks_active_tasks', {'queue': 'q'}\n"
        "assert REGISTRY.get_sample_value(name, labels) == 0\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_metric_and_reason_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)[`{]", DOCS.read_text()))
    shown = {
        family.name + ("_total" if family.type == "counter" else "") for family in Families().all()
    }
    assert shown <= documented
    assert documented >= REASONS
    assert {name for name in documented if name.startswith("vtasks_") and name in shown} == shown
