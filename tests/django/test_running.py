"""What a run brings back: values, errors, attempts, and results for as long as they are kept."""

from typing import Any

import pytest
from django.tasks import TaskResultStatus
from django.tasks.exceptions import TaskResultDoesNotExist
from django.utils import timezone

from tests.django import sample
from tests.django.conftest import EACH_DATABASE, Change
from tests.django.helpers import (
    NO_ROWS,
    SYNC_AND_ASYNC,
    AnyResult,
    done,
    refreshed,
    rows,
    run,
    working,
)
from vtasks_asgi.core.envelope import decode, encode
from vtasks_asgi.db.models import DeadLetter, Message, Result

pytestmark = EACH_DATABASE


def status(result: AnyResult) -> str:
    return str(result.status)


def test_a_sync_and_an_async_task_return() -> None:
    results = [sample.add.enqueue(1, b=2), sample.aadd.enqueue(3, b=4)]
    run(2)
    assert [result.return_value for result in refreshed(*results)] == [3, 7]
    assert {result.status for result in results} == {TaskResultStatus.SUCCESSFUL}
    assert rows() == NO_ROWS | {"results": 2}


def test_djangos_own_decorator_works() -> None:
    results: list[Any] = [sample.plain.enqueue(4), sample.aplain.enqueue(5)]
    run(2)
    assert [result.return_value for result in refreshed(*results)] == [8, 10]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**63),
        1.5,
        "",
        "ünï\x00☃",
        [],
        {},
        [[1, [2]], {"a": [None]}],
        "x" * 100_000,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_values_come_back_as_they_were(value: object) -> None:
    result = done(sample.echo.enqueue(value))
    assert result.return_value == value
    assert type(result.return_value) is type(value)
    assert result.args == [value]


def test_every_step_of_a_success_is_in_the_result() -> None:
    before = timezone.now()
    result = sample.waits_in_thread.enqueue()
    assert status(result) == "READY"
    assert (result.started_at, result.finished_at, result.attempts) == (None, None, 0)
    with working() as worker:
        worker.ear.wait_started(1)
        assert sample.MEETING.arrived.acquire(timeout=20.0)
        result.refresh()
        assert status(result) == "RUNNING"
        assert (result.worker_ids, result.attempts) == (["me"], 1)
        assert (result.started_at is None, result.finished_at) == (False, None)
        with pytest.raises(ValueError, match="not finished"):
            _ = result.return_value
        sample.MEETING.go.set()
        worker.ear.wait(1)
    result.refresh()
    assert status(result) == "SUCCESSFUL"
    assert (result.return_value, result.errors, result.attempts) == ("went", [], 1)
    assert result.enqueued_at is not None
    assert result.started_at is not None
    assert result.finished_at is not None
    assert before <= result.enqueued_at <= result.started_at <= result.finished_at
    assert result.last_attempted_at == result.started_at


@SYNC_AND_ASYNC
def test_every_step_of_a_failure_is_in_the_result(kind: str) -> None:
    result = done(getattr(sample, f"{kind}fails").enqueue("no such luck"))
    assert result.status is TaskResultStatus.FAILED
    assert result.is_finished
    assert result.finished_at is not None
    [error] = result.errors
    assert error.exception_class is ValueError
    assert "no such luck" in error.traceback
    assert f"in {kind}fails" in error.traceback
    assert "hunter2" not in error.traceback.replace('local_secret = "hunter2"', "")
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value
    assert rows() == NO_ROWS | {"dead": 1}
    assert DeadLetter.objects.get().reason == "max_attempts"


def test_each_attempt_is_told_with_its_traceback() -> None:
    result = sample.fails_thrice.enqueue()
    run(3, worker="w")
    result.refresh()
    assert result.status is TaskResultStatus.FAILED
    assert (result.attempts, result.worker_ids) == (3, ["w"] * 3)
    assert [error.exception_class for error in result.errors] == [KeyError] * 3
    assert all("fails_thrice" in error.traceback for error in result.errors)
    assert result.started_at is not None
    assert result.last_attempted_at is not None
    assert result.last_attempted_at >= result.started_at


def test_a_task_that_waits_for_its_next_attempt_is_ready() -> None:
    result = done(sample.fails_later.enqueue())
    assert result.status is TaskResultStatus.READY
    assert (result.attempts, len(result.errors), result.finished_at) == (1, 1, None)
    message = Message.objects.get()
    assert message.state == Message.State.DELAYED
    assert message.run_at is not None
    assert message.run_at > timezone.now().timestamp() + 1000.0


def test_a_later_attempt_may_succeed() -> None:
    result = sample.third_time_lucky.enqueue()
    run(3)
    result.refresh()
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, "lucky")
    assert [error.exception_class for error in result.errors] == [ValueError] * 2
    assert result.attempts == 3


def test_the_context_is_the_first_argument() -> None:
    result = done(sample.context_of.enqueue(1, 2))
    assert result.return_value == [1, result.id, "RUNNING", [1, 2], [1, 2]]


def test_the_context_knows_earlier_attempts() -> None:
    result = sample.acontext_of.enqueue(until=3)
    run(3, worker="w")
    result.refresh()
    assert result.return_value == [3, 2, ["w", "w", "w"]]


@pytest.mark.parametrize("name", sorted(sample.EXITS))
@SYNC_AND_ASYNC
def test_nothing_a_task_raises_stops_the_worker(kind: str, name: str) -> None:
    leaving = getattr(sample, f"{kind}leaves").enqueue(name)
    with working() as worker:
        worker.ear.wait(1)
        after = sample.add.enqueue(1, 1)
        worker.ear.wait(2)
    leaving.refresh()
    after.refresh()
    assert after.return_value == 2
    assert leaving.status is TaskResultStatus.FAILED
    [error] = leaving.errors
    # A coroutine and a future turn these into a RuntimeError, as Python itself does.
    disguised = {"StopIteration", "StopAsyncIteration", "GeneratorExit"}
    known_as = (name, "RuntimeError") if name in disguised else (name,)
    assert error.exception_class_path.endswith(known_as)
    assert name in error.traceback


@SYNC_AND_ASYNC
def test_a_return_value_json_cannot_carry_is_a_dead_letter(kind: str) -> None:
    task = getattr(sample, f"{kind}unserialisable")
    result = done(task.enqueue())
    assert result.status is TaskResultStatus.FAILED
    [error] = result.errors
    assert error.exception_class_path == "vtasks_asgi.core.errors.ResultUnserialisable"
    assert f"the return value of {task.module_path}" in error.traceback
    assert "pass an id, a string or a number instead" in error.traceback
    assert DeadLetter.objects.get().reason == "result_unserialisable"


def test_a_return_value_too_large_is_a_dead_letter() -> None:
    result = done(sample.huge.enqueue())
    [error] = result.errors
    assert error.exception_class_path == "vtasks_asgi.core.errors.ResultUnserialisable"
    assert f"the return value of {sample.huge.module_path}" in error.traceback
    assert "MAX_PAYLOAD" in error.traceback
    assert DeadLetter.objects.get().reason == "result_unserialisable"


def test_a_task_that_enqueues_too_much_has_failed_like_any_other() -> None:
    result = sample.enqueues_too_much.enqueue()
    run(2)
    result.refresh()
    assert [e.exception_class_path for e in result.errors] == [
        "vtasks_asgi.core.errors.PayloadTooLarge"
    ] * 2
    assert DeadLetter.objects.get().reason == "max_attempts"


class TestResultsAreKept:
    def test_for_the_backends_time(self) -> None:
        done(sample.add.enqueue(1))
        kept = Result.objects.get()
        assert kept.expires_at - kept.finished_at == pytest.approx(3600.0)

    def test_for_the_tasks_own_time(self) -> None:
        done(sample.brief.enqueue())
        kept = Result.objects.get()
        assert kept.expires_at - kept.finished_at == pytest.approx(7.5)

    def test_also_when_the_message_does_not_say(self) -> None:
        """As one enqueued before the task was given an option."""
        result = sample.brief.enqueue()
        call = decode(bytes(Message.objects.get().body))
        call.result_ttl = None
        Message.objects.update(body=encode(call))
        done(result)
        kept = Result.objects.get()
        assert kept.expires_at - kept.finished_at == pytest.approx(7.5)

    def test_not_at_all_if_the_backend_says_so(self, change: Change) -> None:
        name = "vtasks_asgi.backends.database.DatabaseTaskBackend"
        change(TASKS={"default": {"BACKEND": name, "OPTIONS": {"RESULT_TTL": 0}}})
        sample.add.enqueue(1)
        kept = sample.brief.enqueue()
        run(2)
        assert list(Result.objects.values_list("uid", flat=True)) == [kept.id]

    def test_for_the_messages_own_time(self) -> None:
        done(sample.brief.using(result_ttl=99.0).enqueue())
        kept = Result.objects.get()
        assert kept.expires_at - kept.finished_at == pytest.approx(99.0)

    def test_not_at_all_if_nobody_wants_them(self) -> None:
        sample.traceless.enqueue()
        sample.traceless_object.enqueue()
        sample.add.using(result_ttl=0).enqueue(1)
        run(3)
        assert rows() == NO_ROWS


def test_expired_results_are_gone_and_then_pruned() -> None:
    result = done(sample.add.enqueue(1))
    Result.objects.update(expires_at=0.0)
    with pytest.raises(TaskResultDoesNotExist):
        result.refresh()
    assert rows()["results"] == 1
    sample.add.enqueue(1)
    run(1)
    assert rows()["results"] == 1, "the old one was pruned, the new one is kept"
    assert not Result.objects.filter(uid=result.id).exists()
