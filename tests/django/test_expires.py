"""Calls that expire: what has not begun in time never does, and that is no failed attempt."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.tasks import TaskResultStatus
from django.tasks.exceptions import InvalidTask
from django.tasks.signals import task_finished, task_started
from django.utils import timezone

from tests.django import sample
from tests.django.conftest import Change
from tests.django.helpers import NO_ROWS, AnyResult, done, refreshed, rows, run
from vtasks_asgi import task
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.core.envelope import decode, encode
from vtasks_asgi.core.outcome import Dead, Done
from vtasks_asgi.core.schedule import Entry, parse_entry
from vtasks_asgi.db.models import DeadLetter, Message
from vtasks_asgi.tasks import backend_of

NOTE = "tests.django.sample.note"


def expiry(result: AnyResult) -> float | None:
    """When its message expires, in seconds from now."""
    at = decode(bytes(Message.objects.get(uid=result.id).body)).expires_at
    return None if at is None else at - timezone.now().timestamp()


def expire(*results: AnyResult) -> None:
    """Let time pass for these."""
    for result in results:
        message = Message.objects.get(uid=result.id)
        call = decode(bytes(message.body))
        call.expires_at = call.enqueued_at
        Message.objects.filter(uid=result.id).update(body=encode(call))


def test_seconds_count_from_the_enqueue() -> None:
    assert expiry(sample.note.using(expires=60).enqueue(1)) == pytest.approx(60.0, abs=20.0)


def test_or_from_when_it_is_due() -> None:
    later = timezone.now() + timedelta(hours=1)
    result = sample.note.using(expires=60, run_after=later).enqueue(1)
    assert expiry(result) == pytest.approx(3660.0, abs=20.0)
    past = sample.note.using(expires=60, run_after=timezone.now() - timedelta(hours=1)).enqueue(1)
    assert expiry(past) == pytest.approx(60.0, abs=20.0)


def test_a_datetime_is_what_it_says() -> None:
    later = timezone.now() + timedelta(hours=1)
    result = sample.note.using(expires=later, run_after=timezone.now()).enqueue(1)
    assert expiry(result) == pytest.approx(3600.0, abs=20.0)
    assert expiry(sample.note.enqueue(1)) is None


def test_a_naive_datetime_is_refused() -> None:
    with pytest.raises(InvalidTask, match="expires must be an aware datetime"):
        sample.note.using(expires=timezone.now().replace(tzinfo=None))


def test_what_has_not_expired_runs() -> None:
    assert done(sample.add.using(expires=60).enqueue(1, 1)).return_value == 2


def test_what_has_expired_never_does() -> None:
    sent: list[Any] = []

    def hear(sender: Any, task_result: AnyResult, signal: Any, **kwargs: Any) -> None:
        told = task_result.status, task_result.reason, task_result.finished_at is not None
        sent.append((signal, task_result.id, *map(str, told)))

    result, neighbour = sample.note.using(expires=60).enqueue("late"), sample.note.enqueue("other")
    expire(result)
    for signal in (task_started, task_finished):
        signal.connect(hear)
    try:
        outcomes = dict(zip(["late", "other"], run(2), strict=True))
    finally:
        for signal in (task_started, task_finished):
            signal.disconnect(hear)
    assert sample.SEEN == ["other"]
    assert {type(outcome) for _, outcome in outcomes.values()} == {Dead, Done}
    result, neighbour = refreshed(result, neighbour)
    assert (result.status, result.reason) == (TaskResultStatus.FAILED, "expired")
    assert result.attempts == 0, "no attempt was used"
    assert (result.errors, result.worker_ids, result.started_at) == ([], [], None)
    assert result.finished_at is not None
    assert DeadLetter.objects.get().reason == "expired"
    assert rows() == NO_ROWS | {"results": 1, "dead": 1}
    ended = [(task_finished, result.id, "FAILED", "expired", "True")]
    assert [each for each in sent if each[1] == result.id] == ended, "it has not started"
    assert [each[0] for each in sent if each[1] == neighbour.id] == [task_started, task_finished]


def test_a_retry_does_not_begin_too_late_either_and_keeps_its_errors() -> None:
    result = done(sample.fails_later.using(expires=60).enqueue())
    Message.objects.update(run_at=0.0)
    expire(result)
    run(1)
    result.refresh()
    assert (result.reason, result.attempts) == ("expired", 1)
    assert [error.exception_class for error in result.errors] == [KeyError]


def test_django_logs_it_as_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    result = sample.note.using(expires=60).enqueue("late")
    expire(result)
    run(1)
    [line] = [r for r in caplog.records if r.name == "django.tasks" and r.levelno == logging.ERROR]
    assert line.getMessage() == f"Task id={result.id} path={NOTE} state=FAILED"
    assert line.exc_info is None


def test_in_a_batch_it_is_told_of_too(change: Change) -> None:
    change(VTASKS_BATCH_QUEUES={"b": {"count": 5, "timeout": 0.1, "task": gathers.module_path}})
    late = sample.note.using(queue_name="b", expires=60).enqueue("late")
    sample.note.using(queue_name="b").enqueue("other")
    expire(late)
    ended: list[Any] = []

    def hear(sender: Any, task_result: AnyResult, **kwargs: Any) -> None:
        ended.append((task_result.id == late.id, task_result.reason))

    task_finished.connect(hear)
    try:
        run(2)
    finally:
        task_finished.disconnect(hear)
    assert sorted(ended, key=str) == [(False, None), (True, "expired")]


@task
def gathers(items: list[Any]) -> None: ...


def test_an_unknown_task_expires_like_any_other() -> None:
    result = sample.add.using(expires=60).enqueue(1)
    expire(result)
    call = decode(bytes(Message.objects.get().body))
    call.task = "tests.django.sample.from_a_newer_release"
    Message.objects.update(body=encode(call))
    run(1)
    assert DeadLetter.objects.get().reason == "expired"


def test_a_message_of_an_older_release_expires_never() -> None:
    result = sample.add.enqueue(1, 1)
    body = bytes(Message.objects.get().body)
    assert b'"exp"' not in body
    assert done(result).return_value == 2


def test_a_tick_expires_from_its_own_time_on() -> None:
    entry: Entry = parse_entry(
        "often", {"task": "tests.django.test_expires.brief", "schedule": 60}, default_zone="UTC"
    )
    backend = backend_of("default")
    assert isinstance(backend, VTasksBackend)
    assert decode(backend.tick_message(entry, 1000.0).body).expires_at == 1030.0


def test_the_naive_project(change: Change) -> None:
    change(USE_TZ=False, TIME_ZONE="Europe/Berlin")
    from datetime import datetime

    later = datetime.now() + timedelta(hours=1)
    assert expiry(sample.note.using(expires=later).enqueue(1)) == pytest.approx(3600.0, abs=20.0)


@task(expires=30)
def brief() -> None: ...
