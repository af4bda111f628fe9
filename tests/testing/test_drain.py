"""``drain``: everything due runs here, as a worker would run it, and time passes on command."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.tasks import TaskResultStatus, task_backends
from django.utils import timezone

from tests.django import sample
from tests.django.conftest import Change
from vtasks_asgi import Backoff, registry, task
from vtasks_asgi.backends.memory import MemoryTaskBackend
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.testing import adrain, drain, enqueued, immediate_tasks, memory_tasks

type Memory = MemoryTaskBackend

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


@task(max_attempts=3, backoff=Backoff(base=60.0, factor=2.0, jitter=0.0))
def never_works() -> None:
    raise ValueError("never")


@task
def again_in_an_hour() -> None:
    again_in_an_hour.using(run_after=timezone.now() + timedelta(hours=1)).enqueue()


@task
def again() -> None:
    again.enqueue()


def names(results: list[Any]) -> list[str]:
    return [result.task.name for result in results]


def test_nothing_runs_before(vtasks: Memory) -> None:
    result = sample.note.enqueue("x")
    assert (sample.SEEN, result.status) == ([], TaskResultStatus.READY)
    [ran] = drain()
    assert (sample.SEEN, ran.id, ran.status) == (["x"], result.id, TaskResultStatus.SUCCESSFUL)
    result.refresh()
    assert result.status is TaskResultStatus.SUCCESSFUL
    assert drain() == []


async def test_from_a_coroutine(vtasks: Memory) -> None:
    await sample.note.aenqueue("x")
    await sample.anote.aenqueue("y")
    assert names(await adrain()) == ["note", "anote"]
    assert sample.SEEN == ["x", "y"]


async def test_drain_works_where_a_loop_is_running(vtasks: Memory) -> None:
    await sample.note.aenqueue("x")
    assert names(drain()) == ["note"]


def test_what_tasks_enqueue_runs_too(vtasks: Memory) -> None:
    sample.enqueues.enqueue("inner")
    sample.aenqueues.enqueue("other")
    assert names(drain()) == ["enqueues", "aenqueues", "note", "note"]


def test_the_order_is_that_of_a_worker(vtasks: Memory) -> None:
    for value, priority in [("low", -5), ("first", 0), ("second", 0), ("high", 5)]:
        sample.note.using(priority=priority).enqueue(value)
    drain()
    assert sample.SEEN == ["high", "first", "second", "low"]


def test_synchronous_tasks_run_in_this_thread(vtasks: Memory) -> None:
    sample.thread_name.enqueue()
    assert drain()[0].return_value == threading.current_thread().name


def test_only_some_queues(vtasks: Memory, change: Change) -> None:
    change(VTASKS_QUEUES=["default", "low"])
    sample.note.using(queue_name="low").enqueue("low")
    sample.note.enqueue("default")
    drain(queues=["low"])
    assert sample.SEEN == ["low"]
    drain()
    assert sample.SEEN == ["low", "default"]


def test_a_queue_no_setting_names(change: Change) -> None:
    change(TASKS={"default": {"BACKEND": "tests.testing.test_drain.AnyQueue", "QUEUES": []}})
    sample.note.using(queue_name="unheard of").enqueue("x")
    drain()
    assert sample.SEEN == ["x"]


class AnyQueue(MemoryTaskBackend):
    """One that a project has made its own."""


# -- failures


def test_a_failure_is_told_by_its_result(vtasks: Memory) -> None:
    sample.fails.enqueue("broken")
    sample.note.enqueue("after")
    failed, after = drain()
    assert failed.status is TaskResultStatus.FAILED
    assert failed.errors[0].exception_class is ValueError
    assert after.status is TaskResultStatus.SUCCESSFUL


@pytest.mark.parametrize("fails", [sample.fails, sample.afails], ids=["sync", "async"])
def test_or_raised_on_demand(vtasks: Memory, fails: Any) -> None:
    result = fails.enqueue("broken")
    sample.note.enqueue("after")
    with pytest.raises(ValueError, match="broken") as raised:
        drain(raise_errors=True)
    assert raised.traceback[-1].name == fails.name
    result.refresh()
    assert (result.status, sample.SEEN) == (TaskResultStatus.FAILED, [])
    drain()
    assert sample.SEEN == ["after"]


def test_who_interrupts_the_tests_is_obeyed(vtasks: Memory) -> None:
    sample.leaves.enqueue("KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        drain()


def test_a_task_without_end_is_noticed(vtasks: Memory) -> None:
    again.enqueue()
    with pytest.raises(RuntimeError, match="more than 50 runs; does a task enqueue itself"):
        drain(limit=50)


def test_a_task_nobody_knows_is_no_silence(vtasks: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    sample.note.enqueue("x")
    monkeypatch.delitem(registry._tasks, sample.note.module_path)
    with pytest.raises(ConfigurationError, match=r"sample\.note' is not registered here"):
        drain()
    monkeypatch.undo()
    assert len(drain(advance=MINUTE)) == 1


# -- time


def test_what_is_delayed_waits_for_its_time(vtasks: Memory) -> None:
    sample.note.using(run_after=timezone.now() + DAY).enqueue("later")
    assert drain() == []
    assert drain(advance=timedelta(hours=23)) == []
    assert names(drain(advance=timedelta(hours=2))) == ["note"]


def test_until_a_point_in_time(vtasks: Memory) -> None:
    when = timezone.now() + DAY
    sample.note.using(run_after=when).enqueue("later")
    assert drain(until=when - MINUTE) == []
    assert names(drain(until=when)) == ["note"]
    assert drain(until=when - DAY) == []


def test_things_happen_in_the_order_of_their_times(vtasks: Memory) -> None:
    start = timezone.now()
    for minutes in (30, 10, 20):
        sample.note.using(run_after=start + minutes * MINUTE).enqueue(minutes)
    ran = drain(advance=timedelta(hours=1))
    assert sample.SEEN == [10, 20, 30]
    for result, minutes in zip(ran, (10, 20, 30), strict=True):
        assert result.started_at
        assert abs(result.started_at - (start + minutes * MINUTE)) < timedelta(seconds=30)


def test_the_clock_stays_where_it_was_driven(vtasks: Memory) -> None:
    drain(advance=DAY)
    result = sample.note.enqueue("x")
    assert result.enqueued_at
    assert abs(result.enqueued_at - (timezone.now() + DAY)) < timedelta(seconds=30)


def test_retries_come_at_exactly_their_time(vtasks: Memory) -> None:
    never_works.enqueue()
    assert [ran.status for ran in drain()] == [TaskResultStatus.READY]
    assert drain() == []
    first, second = drain(advance=timedelta(seconds=60)), drain(advance=timedelta(seconds=120))
    assert [ran.status for ran in first + second] == ["READY", "FAILED"]
    assert [len(ran.errors) for ran in first + second] == [2, 3]


def test_all_attempts_in_one_journey(vtasks: Memory) -> None:
    result = never_works.enqueue()
    assert len(drain(advance=timedelta(seconds=180))) == 3
    result.refresh()
    assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 3)
    assert len(set(result.worker_ids)) == 1


def test_what_runs_again_by_itself_ends_with_the_journey(vtasks: Memory) -> None:
    again_in_an_hour.enqueue()
    drain(advance=timedelta(minutes=30))
    assert len(enqueued()) == 1


def test_a_result_is_gone_after_its_time(vtasks: Memory) -> None:
    result = sample.brief.enqueue()
    drain(advance=timedelta(seconds=7))
    assert vtasks.memory.lookup_sync([result.id])
    drain(advance=timedelta(seconds=1))
    assert not vtasks.memory.lookup_sync([result.id])


# -- backends


def test_a_real_store_can_be_drained_too() -> None:
    result = sample.enqueues.enqueue("inner")
    assert names(drain()) == ["enqueues", "note"]
    result.refresh()
    assert result.status is TaskResultStatus.SUCCESSFUL
    with pytest.raises(ConfigurationError, match=r"own server; to travel, use .*memory_tasks"):
        drain(advance=DAY)


def test_inside_a_transaction_a_real_store_says_what_to_do() -> None:
    with transaction.atomic():
        sample.note.enqueue("x")
        with pytest.raises(ConfigurationError, match=r"open transaction on 'default'.*memory_"):
            drain()
        with memory_tasks():
            sample.note.enqueue("y")
            drain()
    assert sample.SEEN == ["y"]


def test_the_immediate_backend_has_nothing_to_drain() -> None:
    with immediate_tasks(), pytest.raises(ConfigurationError, match="keeps no messages"):
        drain()


def test_another_alias(change: Change) -> None:
    memory = {"BACKEND": "vtasks_asgi.backends.memory.MemoryTaskBackend"}
    change(TASKS={"default": memory, "other": memory})
    sample.note.using(backend="other").enqueue("x")
    assert drain() == []
    assert names(drain(backend="other")) == ["note"]


def test_memory_is_that_of_the_alias_in_every_thread(vtasks: Memory) -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(task_backends["default"]))
    thread.start()
    thread.join()
    assert found[0] is not task_backends["default"]
    assert found[0].memory is vtasks.memory


def test_naive_times_are_the_projects(vtasks: Memory, change: Change) -> None:
    change(USE_TZ=False)
    when = timezone.now() + DAY
    assert when.tzinfo is None
    sample.note.using(run_after=when).enqueue("later")
    assert names(drain(until=when)) == ["note"]
