"""Which failures are tried again and when, and what a task may raise to say so itself."""

import logging
from typing import Any

import pytest
from django.tasks import TaskResultStatus
from django.tasks.exceptions import InvalidTask
from django.utils import timezone

from tests.django import asking, sample
from tests.django.conftest import Change
from tests.django.helpers import SYNC_AND_ASYNC, AnyResult, done, rows, run
from vtasks_asgi import task
from vtasks_asgi.assembly import assemble
from vtasks_asgi.core.outcome import Dead, Retry
from vtasks_asgi.db.models import DeadLetter, Message
from vtasks_asgi.exceptions import ConfigurationError

ERRORS = "vtasks_asgi.core.errors"


def reason() -> str:
    return DeadLetter.objects.get().reason


@pytest.mark.parametrize(
    ("name", "kind", "attempts"),
    [
        ("picky", "Refused", 3),
        ("picky", "KeyError", 3),
        ("picky", "ValueError", 1),
        ("apicky", "Refused", 1),
        ("apicky", "KeyError", 3),
    ],
)
def test_only_what_is_asked_for_is_tried_again(name: str, kind: str, attempts: int) -> None:
    result = getattr(asking, name).enqueue(kind)
    outcomes = [outcome for _, outcome in run(attempts)]
    assert [type(outcome) for outcome in outcomes] == [Retry] * (attempts - 1) + [Dead]
    assert reason() == ("max_attempts" if attempts == 3 else "not_retryable")
    result.refresh()
    assert result.status is TaskResultStatus.FAILED
    assert [error.exception_class for error in result.errors] == [asking.ERRORS[kind]] * attempts
    assert result.reason == reason()


@SYNC_AND_ASYNC
def test_a_task_may_ask_to_be_run_again_at_a_time_of_its_own(kind: str) -> None:
    name = f"{kind}asks_again"
    result = done(getattr(asking, name).enqueue(1000.0))
    assert result.status is TaskResultStatus.READY
    [error] = result.errors
    assert error.exception_class_path == f"{ERRORS}.RetryTask"
    assert "the file is not there yet" in error.traceback
    message = Message.objects.get()
    assert message.attempt == 1, "it was an attempt like any other"
    assert message.run_at is not None
    assert 990.0 < message.run_at - timezone.now().timestamp() <= 1000.0


@SYNC_AND_ASYNC
def test_which_uses_up_its_attempts(kind: str) -> None:
    result = getattr(asking, f"{kind}asks_again").enqueue(0)
    run(2)
    result.refresh()
    assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 2)
    assert reason() == "max_attempts"


def test_without_a_time_of_its_own_it_is_the_backoffs() -> None:
    done(asking.asks_again.enqueue(None))
    message = Message.objects.get()
    assert message.run_at is not None
    assert 0.0 < message.run_at - timezone.now().timestamp() <= 5.0


@SYNC_AND_ASYNC
def test_a_task_may_give_up_at_once_and_quietly(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vtasks_asgi")
    caplog.set_level(logging.INFO, "django.tasks")
    result = done(getattr(asking, f"{kind}discards").enqueue("the user is gone"))
    assert (result.status, result.reason) == (TaskResultStatus.FAILED, "discarded")
    assert result.attempts == 1
    [error] = result.errors
    assert error.exception_class_path == f"{ERRORS}.DiscardTask"
    assert "DiscardTask: the user is gone" in error.traceback
    assert reason() == "discarded"
    assert not any(record.exc_info for record in caplog.records)
    [ours] = [r for r in caplog.records if getattr(r, "vtasks_event", "") == "dead_letter"]
    assert ours.levelname == "INFO"


def test_a_failure_is_still_logged_by_django_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done(sample.fails.enqueue())
    [record] = [r for r in caplog.records if r.name == "django.tasks" and r.levelname == "ERROR"]
    assert record.exc_info


def test_waits_may_be_a_function() -> None:
    done(asking.waits_by_function.enqueue("Refused"))
    assert sample.SEEN == [(1, "Refused")]
    message = Message.objects.get()
    assert message.run_at is not None
    assert 990.0 < message.run_at - timezone.now().timestamp() <= 1000.0


def test_a_function_that_fails_costs_no_message_and_is_told() -> None:
    result = done(asking.waits_by_function.enqueue("KeyError"))
    assert result.status is TaskResultStatus.READY
    [error] = result.errors
    assert error.exception_class is LookupError
    assert "no idea how long" in error.traceback
    assert "in waits_by_function" in error.traceback, "the task's own error is told as well"
    message = Message.objects.get()
    assert message.run_at is not None
    assert 0.0 < message.run_at - timezone.now().timestamp() <= 5.0


def function() -> None: ...


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"backoff": 5}, "backoff must be a Backoff, .* or a function of the number of failed"),
        ({"retry_on": ConnectionError}, r"retry_on must be a tuple .* \(ConnectionError,\)"),
        ({"retry_on": [ConnectionError]}, "retry_on must be a tuple"),
        ({"retry_on": (5,)}, "retry_on has 5, which is no exception class"),
        ({"retry_on": (int,)}, "retry_on has <class 'int'>, which is no exception class"),
        ({"dont_retry_on": ("ValueError",)}, "dont_retry_on has 'ValueError', .* no dotted path"),
        ({"dont_retry_on": ("a.b c",)}, "no dotted path of an exception class"),
        ({"dont_retry_on": None, "retry_on": (KeyError(),)}, r"retry_on has KeyError\(\)"),
        ({"timeout": 0}, "timeout must be a number of seconds, more than 0"),
        ({"timeout": "5"}, "timeout must be a number of seconds"),
        ({"timeout": float("inf")}, "timeout must be a number of seconds"),
        ({"timeout": True}, "timeout must be a number of seconds"),
        ({"expires": -1}, "expires must be a number of seconds, more than 0, or a datetime"),
        ({"expires": "tomorrow"}, "expires must be a number of seconds"),
        ({"metadata": [1]}, "metadata must be a dict, not a list"),
        ({"metadata": {"a": object()}}, r"metadata\['a'\] is a object, which is not JSON"),
        ({"metadata": {1: "a"}}, "metadata has the key 1; JSON keys are strings"),
    ],
    ids=str,
)
def test_a_wrong_option_is_refused_where_it_is_written(options: dict[str, Any], error: str) -> None:
    with pytest.raises(InvalidTask, match=f"^function: .*{error}"):
        task(**options)(function)


@pytest.mark.parametrize(
    ("path", "error"),
    [("no.such.Error", "No module named 'no'"), ("sys.path", "which is no exception class")],
)
def test_a_path_that_leads_nowhere_is_found_at_the_start(
    path: str, error: str, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    from vtasks_asgi import registry

    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))
    task(retry_on=(path,))(function)
    with pytest.raises(ConfigurationError, match=f"function: retry_on names '{path}'.*{error}"):
        assemble()


def test_every_attempts_failure_is_kept_until_it_succeeds() -> None:
    result: AnyResult = sample.third_time_lucky.enqueue()
    run(3)
    result.refresh()
    assert [error.exception_class for error in result.errors] == [ValueError] * 2
    assert (result.reason, rows()["dead"]) == (None, 0)
