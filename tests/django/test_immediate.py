"""The immediate backend: what is enqueued has run, where and as its caller would have run it."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import transaction
from django.tasks import TaskResultStatus, task_backends
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
from django.tasks.signals import task_enqueued, task_finished, task_started
from django.test import TestCase, override_settings
from django.utils import timezone

from tests.django import sample
from tests.django.conftest import Change
from tests.django.helpers import SYNC_AND_ASYNC
from vtasks_asgi.assembly import assemble
from vtasks_asgi.backends.immediate import ImmediateBackend
from vtasks_asgi.exceptions import ConfigurationError, PayloadTooLarge

IMMEDIATE = {"default": {"BACKEND": "vtasks_asgi.backends.immediate.ImmediateBackend"}}


@pytest.fixture(autouse=True)
def immediate(request: pytest.FixtureRequest, change: Change) -> None:
    if request.cls is None:  # Django's own test classes bring their settings
        change(TASKS=IMMEDIATE)


def backend() -> ImmediateBackend:
    found = task_backends["default"]
    assert isinstance(found, ImmediateBackend)
    return found


def task(kind: str, name: str) -> Any:
    return getattr(sample, kind + name)


@SYNC_AND_ASYNC
def test_a_task_has_run_when_enqueue_returns(kind: str) -> None:
    result = task(kind, "add").enqueue(1, b=2)
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, 3)
    assert result.is_finished
    assert result.attempts == 1
    assert result.started_at <= result.finished_at


@SYNC_AND_ASYNC
async def test_and_when_aenqueue_does(kind: str) -> None:
    result = await task(kind, "add").aenqueue(1, b=2)
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, 3)


@SYNC_AND_ASYNC
async def test_enqueue_works_where_a_loop_is_running(kind: str) -> None:
    assert task(kind, "add").enqueue(1, b=2).return_value == 3


@SYNC_AND_ASYNC
def test_tasks_of_django_itself(kind: str) -> None:
    assert task(kind, "plain").enqueue(2).return_value == 4


@SYNC_AND_ASYNC
def test_a_failure_is_told_by_the_result_after_one_attempt(kind: str) -> None:
    result = task(kind, "fails").enqueue("broken")
    assert result.status is TaskResultStatus.FAILED
    [error] = result.errors
    assert error.exception_class is ValueError
    assert "ValueError: broken" in error.traceback
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


def test_a_task_with_attempts_left_gets_no_other() -> None:
    result = sample.fails_thrice.enqueue()
    assert (result.status, len(result.errors)) == (TaskResultStatus.FAILED, 1)


@pytest.mark.parametrize("kind", ["SystemExit", "GeneratorExit", "StopIteration", "CancelledError"])
@pytest.mark.parametrize("leaves", [sample.leaves, sample.aleaves], ids=["sync", "async"])
def test_whatever_a_task_raises_is_a_failure(leaves: Any, kind: str) -> None:
    result = leaves.enqueue(kind)
    assert (result.status, len(result.errors)) == (TaskResultStatus.FAILED, 1)


@pytest.mark.parametrize("leaves", [sample.leaves, sample.aleaves], ids=["sync", "async"])
def test_who_interrupts_the_tests_is_obeyed(leaves: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        leaves.enqueue("KeyboardInterrupt")


def test_a_value_that_cannot_be_kept_is_a_failure_as_with_every_backend() -> None:
    result = sample.unserialisable.enqueue()
    assert result.status is TaskResultStatus.FAILED
    assert "ResultUnserialisable" in result.errors[0].exception_class_path


def test_the_result_can_be_had_again() -> None:
    result = sample.add.enqueue(1)
    assert sample.add.get_result(result.id).return_value == 1
    result.refresh()
    assert result.status is TaskResultStatus.SUCCESSFUL
    with pytest.raises(TaskResultDoesNotExist):
        sample.add.get_result("0" * 32)


def test_a_result_that_is_not_kept_cannot() -> None:
    result = sample.traceless.enqueue()
    assert result.status is TaskResultStatus.SUCCESSFUL
    with pytest.raises(TaskResultDoesNotExist):
        sample.traceless.get_result(result.id)


async def test_the_result_can_be_had_again_from_a_coroutine() -> None:
    result = await sample.add.aenqueue(1)
    assert (await sample.add.aget_result(result.id)).return_value == 1


def test_a_task_gets_its_context() -> None:
    result = sample.context_of.enqueue(5)
    assert result.return_value == [1, result.id, "RUNNING", [5], [5]]


def test_wrong_arguments_are_refused_as_with_every_backend() -> None:
    with pytest.raises(TypeError, match=r"args\[0\] is a set"):
        sample.echo.enqueue({1})
    with pytest.raises(InvalidTask, match="Queue 'mial'"):
        sample.add.using(queue_name="mial")
    with pytest.raises(PayloadTooLarge):
        sample.echo.enqueue("x" * 20_000_000)


def test_a_delay_is_no_reason_to_wait() -> None:
    later = timezone.now() + timedelta(days=1)
    result = sample.add.using(run_after=later).enqueue(1)
    assert (result.return_value, result.task.run_after) == (1, later)


def test_many_are_run_in_order_after_all_were_checked() -> None:
    calls: list[Any] = [(sample.note, [number], {}) for number in range(3)]
    with pytest.raises(TypeError):
        backend().enqueue_many([*calls, (sample.note, [b"x"], {})])
    assert sample.SEEN == []
    found = backend().enqueue_many(calls)
    assert sample.SEEN == [0, 1, 2]
    assert {result.status for result in found if result} == {TaskResultStatus.SUCCESSFUL}


def test_a_queue_name_selects_the_queue(change: Change) -> None:
    change(VTASKS_QUEUES=["default", "low"])
    result = sample.add.enqueue(1, queue_name="low")  # type: ignore[call-arg]
    assert (result.return_value, result.task.queue_name) == (1, "low")


@SYNC_AND_ASYNC
def test_a_task_that_enqueues_finds_the_other_done(kind: str) -> None:
    result = task(kind, "enqueues").enqueue("inner")
    assert sample.SEEN == ["inner"]
    assert sample.note.get_result(result.return_value).status is TaskResultStatus.SUCCESSFUL


def test_djangos_signals_tell_how_it_goes() -> None:
    heard: list[tuple[str, str, str]] = []

    def hear(signal: Any, sender: type, task_result: Any, **more: Any) -> None:
        heard.append((names[signal], sender.__name__, str(task_result.status)))

    names = {task_enqueued: "enqueued", task_started: "started", task_finished: "finished"}
    for signal in names:
        signal.connect(hear)
    try:
        sample.add.enqueue(1)
        sample.fails.enqueue()
    finally:
        for signal in names:
            signal.disconnect(hear)
    assert [each for each in heard if each[1] != "ImmediateBackend"] == []
    assert [(name, status) for name, _, status in heard] == [
        ("enqueued", "READY"),
        ("started", "RUNNING"),
        ("finished", "SUCCESSFUL"),
        ("enqueued", "READY"),
        ("started", "RUNNING"),
        ("finished", "FAILED"),
    ]


def test_a_synchronous_task_runs_in_its_callers_thread() -> None:
    assert sample.thread_name.enqueue().return_value == threading.current_thread().name


def test_what_a_task_sets_in_its_context_stays_there() -> None:
    for leaves in (sample.leaves_context, sample.aleaves_context):
        assert leaves.enqueue("dirty").return_value == "clean"
    assert sample.LEFTOVER.get() == "clean"


def test_a_rollback_takes_back_what_the_task_wrote() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        result = sample.writes.enqueue("mine")
        assert result.return_value == [True, False, False]
        raise ZeroDivisionError
    assert not Group.objects.exists()
    with pytest.raises(TaskResultDoesNotExist):
        sample.writes.get_result(result.id)


def test_no_worker_can_be_had() -> None:
    with pytest.raises(ConfigurationError, match="runs each task within its enqueue"):
        assemble()


@override_settings(TASKS=IMMEDIATE)
class InTestCase(TestCase):
    """Tasks see the test's own transaction."""

    def test_sync(self) -> None:
        Group.objects.create(name="mine")
        self.assertEqual(sample.writes.enqueue("its").status, "SUCCESSFUL")
        self.assertEqual(sample.awrites.enqueue("other").status, "SUCCESSFUL")
        self.assertEqual(Group.objects.count(), 3)

    async def test_async(self) -> None:
        await Group.objects.acreate(name="mine")
        assert (await sample.writes.aenqueue("its")).status == "SUCCESSFUL"
        assert (await sample.awrites.aenqueue("other")).status == "SUCCESSFUL"
        assert await Group.objects.acount() == 3
        assert await sync_to_async(Group.objects.count)() == 3
