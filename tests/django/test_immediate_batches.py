"""The immediate backend and batch queues: gathered in memory, run on demand, as a worker would."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.tasks import TaskResultStatus, task_backends
from django.test import TestCase, override_settings

from tests.django.conftest import Change
from vtasks_asgi import task
from vtasks_asgi.backends.immediate import ImmediateBackend
from vtasks_asgi.batches import GIVE_UP_AFTER
from vtasks_asgi.exceptions import ConfigurationError

IMMEDIATE = {"default": {"BACKEND": "vtasks_asgi.backends.immediate.ImmediateBackend"}}
QUEUE = {"gathered": {"count": 3, "timeout": 5.0}}

#: The lists that batch functions were called with.
CALLS: list[tuple[str, list[Any]]] = []


@task
def load(items: list[Any]) -> None:
    CALLS.append(("load", items))


@task
async def aload(items: list[Any]) -> None:
    CALLS.append(("aload", items))


@task
def single(number: int = 0) -> None:
    CALLS.append(("single", [number]))


@task(max_attempts=5)
def breaks(items: list[Any]) -> None:
    raise ValueError("broken")


@task
def writes(items: list[Any]) -> None:
    Group.objects.bulk_create(Group(name=item["kwargs"]["name"]) for item in items)


@pytest.fixture(autouse=True)
def immediate(request: pytest.FixtureRequest, change: Change) -> None:
    CALLS.clear()
    if request.cls is None:  # Django's own test classes bring their settings
        change(TASKS=IMMEDIATE, VTASKS_BATCH_QUEUES=QUEUE)


def backend() -> ImmediateBackend:
    found = task_backends["default"]
    assert isinstance(found, ImmediateBackend)
    return found


def gather(batch_task: Any, *numbers: int) -> list[Any]:
    return [batch_task.using(queue_name="gathered").enqueue(number=n) for n in numbers]


def numbers() -> list[tuple[str, list[int]]]:
    return [(name, [item["kwargs"]["number"] for item in items]) for name, items in CALLS]


def test_a_batch_queue_gathers_what_is_enqueued() -> None:
    [result] = gather(load, 1)
    assert result.status is TaskResultStatus.READY
    assert backend().pending_batches["gathered"] == [
        {
            "id": result.id,
            "task": load.module_path,
            "args": [],
            "kwargs": {"number": 1},
            "queue_name": "gathered",
            "attempt": 1,
        }
    ]
    assert CALLS == []


async def test_from_a_coroutine_too() -> None:
    await load.using(queue_name="gathered").aenqueue(number=1)  # type: ignore[call-arg]
    await backend().aflush_batch("gathered")
    assert numbers() == [("load", [1])]


def test_other_queues_run_at_once() -> None:
    gather(load, 1)
    single.enqueue(5)
    assert CALLS == [("single", [5])]


@pytest.mark.parametrize("batch_task", [load, aload])
def test_each_task_gets_its_own_list(batch_task: Any) -> None:
    results = gather(batch_task, 1, 2)
    flushed = backend().flush_batch("gathered")
    assert numbers() == [(batch_task.name, [1, 2])]
    assert [result.id for result in flushed] == [result.id for result in results]
    for result in results:
        result.refresh()
        assert result.status is TaskResultStatus.SUCCESSFUL
        assert result.attempts == 1
    assert backend().pending_batches == {}


def test_lists_are_grouped_by_task_and_no_longer_than_count() -> None:
    for batch_task, number in [(load, 1), (aload, 2), (load, 3), (load, 4)]:
        gather(batch_task, number)
    backend().flush_batches()
    assert numbers() == [("load", [1, 3]), ("aload", [2]), ("load", [4])]


def test_a_task_of_the_queue_gets_them_all(change: Change) -> None:
    options = {"count": 10, "timeout": 5.0, "task": load.module_path}
    change(VTASKS_BATCH_QUEUES={"gathered": options})
    single.enqueue(1, queue_name="gathered")  # type: ignore[call-arg]
    gather(aload, 2)
    backend().flush_batch("gathered")
    [(name, items)] = CALLS
    assert name == "load"
    assert [(item["task"], item["args"], item["kwargs"]) for item in items] == [
        (single.module_path, [1], {}),
        (aload.module_path, [], {"number": 2}),
    ]


def test_a_queue_may_say_itself_that_it_is_gathered(change: Change) -> None:
    change(VTASKS_BATCH_QUEUES={}, VTASKS_QUEUES={"gathered": {"batch": QUEUE["gathered"]}})
    gather(load, 1)
    assert len(backend().pending_batches["gathered"]) == 1


def test_a_failure_is_raised_after_all_have_run_and_is_everybodys_result() -> None:
    broken = gather(breaks, 1, 2)
    [good] = gather(load, 3)
    with pytest.raises(ValueError, match="broken"):
        backend().flush_batch("gathered")
    for result in broken:
        result.refresh()
        assert result.status is TaskResultStatus.FAILED
        assert [error.exception_class for error in result.errors] == [ValueError]
    good.refresh()
    assert good.status is TaskResultStatus.SUCCESSFUL
    assert backend().flush_batches() == []


@task
def picky(items: list[Any]) -> list[Any]:
    """Refuses a batch with a 13 in it, and gives back what it accepts."""
    found = [item["kwargs"]["number"] for item in items]
    CALLS.append(("picky", items))
    if 13 in found:
        raise ValueError("13")
    return found


def test_only_the_culprit_of_a_batch_fails() -> None:
    results = gather(picky, 12, 13, 14)
    with pytest.raises(ValueError, match="13"):
        backend().flush_batch("gathered")
    for result in results:
        result.refresh()
    assert [str(result.status) for result in results] == ["SUCCESSFUL", "FAILED", "SUCCESSFUL"]
    assert (results[0].return_value, results[2].return_value) == (12, 14)
    assert [len(items) for _, items in CALLS] == [3, 2, 1, 1, 1]


def test_what_a_worker_would_put_back_waits_for_the_next_flush(change: Change) -> None:
    change(VTASKS_BATCH_QUEUES={"gathered": {"count": 100, "timeout": 5.0}})
    results = gather(breaks, *range(GIVE_UP_AFTER + 2))
    with pytest.raises(ValueError, match="broken"):
        backend().flush_batch("gathered")
    left = backend().pending_batches["gathered"]
    assert [item["id"] for item in left] == [result.id for result in results[-2:]]
    with pytest.raises(ValueError, match="broken"):
        backend().flush_batch("gathered")
    assert backend().pending_batches["gathered"] == []


def test_nothing_to_flush_is_no_error() -> None:
    assert backend().flush_batch("gathered") == []
    assert backend().flush_batch("nowhere") == []
    assert backend().flush_batches() == []
    assert backend().pending_batches["gathered"] == []


def test_what_somebody_took_out_of_the_list_does_not_run() -> None:
    gather(load, 1, 2)
    del backend().pending_batches["gathered"][0]
    backend().flush_batch("gathered")
    assert numbers() == [("load", [2])]


def test_a_task_of_the_queue_that_does_not_exist_is_named(change: Change) -> None:
    change(VTASKS_BATCH_QUEUES={"gathered": {"count": 1, "timeout": 5.0, "task": "no.such"}})
    gather(load, 1)
    with pytest.raises(ConfigurationError, match=r"'no\.such' of a batch is not registered"):
        backend().flush_batch("gathered")


def test_a_rollback_takes_back_what_was_gathered() -> None:
    gather(load, 1)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        gather(load, 2)
        assert len(backend().pending_batches["gathered"]) == 2
        raise ZeroDivisionError
    backend().flush_batch("gathered")
    assert numbers() == [("load", [1])]


@override_settings(TASKS=IMMEDIATE, VTASKS_BATCH_QUEUES=QUEUE)
class InTestCase(TestCase):
    """Each test begins with nothing gathered, and batches see its transaction."""

    def gather_one(self) -> None:
        self.assertEqual(backend().pending_batches["gathered"], [])
        writes.using(queue_name="gathered").enqueue(name="x")  # type: ignore[call-arg]
        self.assertEqual(len(backend().pending_batches["gathered"]), 1)

    def test_a_pretended_commit(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            self.gather_one()
        self.assertEqual(len(backend().pending_batches["gathered"]), 1)

    def test_one(self) -> None:
        self.gather_one()
        backend().flush_batch("gathered")
        self.assertEqual(Group.objects.get().name, "x")

    def test_another(self) -> None:
        self.gather_one()
