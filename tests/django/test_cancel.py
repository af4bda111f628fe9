"""Cancelling tasks: before they begin, while they run, between attempts, and in transactions."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import transaction
from django.tasks import TaskResultStatus, task_backends
from django.tasks.signals import task_finished
from django.utils import timezone

from tests.django import sample
from tests.django.everywhere import each_backend
from tests.django.helpers import SYNC_AND_ASYNC, AnyResult, Ear, embedded, stored, working
from vtasks_asgi import VTaskContext, task, timeouts
from vtasks_asgi.core.outcome import CANCELLED, Dead
from vtasks_asgi.exceptions import DiscardTask, TaskCancelled, TaskFailed, TaskTimeout
from vtasks_asgi.runtime import leases
from vtasks_asgi.runtime.events import hub
from vtasks_asgi.store.base import Claim
from vtasks_asgi.store.control import Cancel, Cancellation

__all__ = ["each_backend"]


@task
def waits_and_fails() -> None:
    sample.MEETING.arrived.release()
    sample.MEETING.go.wait(20.0)
    raise KeyError("after all")


@task(takes_context=True)
def watches(context: VTaskContext) -> str:
    sample.MEETING.arrived.release()
    while not context.cancelled:
        time.sleep(0.01)
    return "noticed"


@task(timeout=60)
async def limited() -> None:
    sample.MEETING.arrived.release()
    await asyncio.Event().wait()


@task
async def stubborn() -> str:
    sample.MEETING.arrived.release()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.sleep(0)
    return "stubborn"


@task
def waits_and_discards() -> None:
    sample.MEETING.arrived.release()
    sample.MEETING.go.wait(20.0)
    raise DiscardTask


@task(timeout=2.0)
async def hangs() -> None:
    sample.MEETING.arrived.release()
    while not sample.MEETING.go.is_set():
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def store(each_backend: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test on each kind of store, its workers quick to learn."""
    for name in ("PING_EVERY", "LOOK_AFTER", "LOOK_EVERY"):
        monkeypatch.setattr(leases, name, 0.02)


class Heard(Ear):
    """Also remembers what it was told of cancellations."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Cancellation] = []
        self.cancelled_ids: list[str] = []

    def cancel_asked(self, cancellation: Cancellation) -> None:
        self.asked.append(cancellation)

    def cancelled(self, claims: Sequence[Claim]) -> None:
        with self._heard:
            self.cancelled_ids += [claim.id for claim in claims]
            self._heard.notify_all()

    def wait_cancelled(self, id: str) -> None:
        with self._heard:
            assert self._heard.wait_for(lambda: id in self.cancelled_ids, 20.0)


@pytest.fixture
def heard() -> Iterator[Heard]:
    ear = Heard()
    hub.add(ear)
    yield ear
    hub.remove(ear)


def cancel(result: AnyResult | str, kind: str = "") -> Cancel | None:
    id = result if isinstance(result, str) else result.id
    backend: Any = task_backends["default"]
    found: Cancel | None = async_to_sync(backend.acancel)(id) if kind else backend.cancel(id)
    return found


def errors(result: AnyResult) -> list[type]:
    result.refresh()
    return [error.exception_class for error in result.errors]


@SYNC_AND_ASYNC
def test_one_that_waits_never_runs_and_has_failed(heard: Heard, kind: str) -> None:
    result = sample.note.enqueue("cancelled")
    other = sample.note.enqueue("other")
    assert cancel(result, kind) is Cancel.CANCELLED
    assert errors(result) == [TaskCancelled]
    assert result.status is TaskResultStatus.FAILED
    assert (result.attempts, result.worker_ids) == (0, [])
    assert result.finished_at is not None
    assert "it was cancelled" in result.errors[0].traceback
    with working() as worker:
        worker.ear.wait(1)
    assert sample.SEEN == ["other"]
    other.refresh()
    assert other.status is TaskResultStatus.SUCCESSFUL
    assert [each.buried for each in heard.asked] == [{"default": 1}]


def test_what_it_says() -> None:
    result = sample.note.enqueue(1)
    assert cancel(result)
    assert cancel(result) is Cancel.FINISHED
    assert cancel("unknown") is Cancel.UNKNOWN
    assert not cancel("unknown")
    assert cancel("ünknown") is Cancel.UNKNOWN


@SYNC_AND_ASYNC
def test_a_coroutine_that_runs_is_cancelled(heard: Heard, kind: str) -> None:
    finished: list[AnyResult] = []

    def receive(task_result: AnyResult, **kwargs: Any) -> None:
        finished.append(task_result)

    task_finished.connect(receive)
    try:
        with working() as worker:
            result = sample.waits_on_loop.enqueue()
            assert sample.MEETING.arrived.acquire(timeout=20.0)
            assert cancel(result, kind) is Cancel.ASKED
            worker.ear.wait(1)
    finally:
        task_finished.disconnect(receive)
    [(name, outcome)] = worker.ear.outcomes
    assert name == sample.waits_on_loop.module_path
    assert isinstance(outcome, Dead)
    assert outcome.reason == CANCELLED
    assert errors(result) == [TaskCancelled]
    assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 1)
    assert "waits_on_loop" in result.errors[0].traceback
    assert [each.id for each in finished] == [result.id]
    assert errors(finished[0]) == [TaskCancelled]


@SYNC_AND_ASYNC
def test_a_result_cancels_its_task(kind: str) -> None:
    result = sample.note.enqueue("x")
    assert (async_to_sync(result.acancel)() if kind else result.cancel()) is Cancel.CANCELLED
    result.refresh()
    assert (result.status, result.reason) == (TaskResultStatus.FAILED, CANCELLED)
    with pytest.raises(TaskFailed, match="was given up on: cancelled"):
        result.wait(20.0)


def test_what_runs_in_a_thread_sees_it_and_may_end() -> None:
    with working() as worker:
        result = watches.enqueue()
        assert sample.MEETING.arrived.acquire(timeout=20.0)
        assert result.cancel() is Cancel.ASKED
        worker.ear.wait(1)
    result.refresh()
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, "noticed")


def test_what_runs_in_a_thread_goes_on(heard: Heard) -> None:
    with working() as worker:
        result = sample.waits_in_thread.enqueue()
        assert sample.MEETING.arrived.acquire(timeout=20.0)
        assert cancel(result) is Cancel.ASKED
        heard.wait_cancelled(result.id)
        sample.MEETING.go.set()
        worker.ear.wait(1)
    assert errors(result) == []
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, "went")


@pytest.mark.parametrize("metadata", [{}, {"surrounded": True}])
def test_a_coroutine_with_a_time_limit_is_cancelled(metadata: dict[str, Any]) -> None:
    with working() as worker:
        result = limited.using(metadata=metadata).enqueue()
        assert sample.MEETING.arrived.acquire(timeout=20.0)
        cancel(result)
        worker.ear.wait(1)
    assert errors(result) == [TaskCancelled]
    assert (result.reason, result.attempts) == (CANCELLED, 1)


def test_one_that_hangs_is_left_behind_as_cancelled(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "GRACE", 0.01)
    with working() as worker:
        result = hangs.enqueue()
        assert sample.MEETING.arrived.acquire(timeout=20.0)
        cancel(result)
        heard.wait_cancelled(result.id)
        worker.ear.wait(1)
        sample.MEETING.go.set()
    assert errors(result) == [TaskTimeout, TaskCancelled]
    assert (result.reason, result.attempts) == (CANCELLED, 1)


def test_one_that_discards_itself_then_was_cancelled(heard: Heard) -> None:
    with working() as worker:
        result = waits_and_discards.enqueue()
        assert sample.MEETING.arrived.acquire(timeout=20.0)
        cancel(result)
        heard.wait_cancelled(result.id)
        sample.MEETING.go.set()
        worker.ear.wait(1)
    assert errors(result) == [DiscardTask, TaskCancelled]
    assert result.reason == CANCELLED


def test_one_that_fails_after_it_was_asked_is_not_tried_again(heard: Heard) -> None:
    with working() as worker:
        result = waits_and_fails.enqueue()
        assert sample.MEETING.arrived.acquire(timeout=20.0)
        cancel(result)
        heard.wait_cancelled(result.id)
        sample.MEETING.go.set()
        worker.ear.wait(1)
    assert errors(result) == [KeyError, TaskCancelled]
    assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 1)


def test_one_that_waits_for_another_attempt() -> None:
    with working() as worker:
        result = sample.fails_later.enqueue()
        worker.ear.wait(1)
    assert cancel(result) is Cancel.CANCELLED
    assert errors(result) == [KeyError, TaskCancelled]
    assert result.attempts == 1


def test_a_coroutine_that_does_not_let_itself_be_cancelled_has_succeeded() -> None:
    with working() as worker:
        result = stubborn.enqueue()
        assert sample.MEETING.arrived.acquire(timeout=20.0)
        cancel(result)
        worker.ear.wait(1)
    assert errors(result) == []
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, "stubborn")


def test_a_unique_task_may_be_enqueued_again() -> None:
    unique = sample.note.using(unique=True)
    [result] = stored([unique.enqueue("x")])
    assert unique.enqueue("x") is None
    cancel(result)
    assert unique.enqueue("x") is not None


def test_inside_a_transaction_it_waits_for_the_commit() -> None:
    kept, cancelled = sample.note.enqueue(1), sample.note.enqueue(2)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        assert cancel(kept) is None
        raise ZeroDivisionError
    with transaction.atomic():
        assert cancel(cancelled) is None
        cancelled.refresh()
        assert cancelled.status is TaskResultStatus.READY
    assert errors(cancelled) == [TaskCancelled]
    kept.refresh()
    assert kept.status is TaskResultStatus.READY


async def test_within_a_worker_of_the_same_loop(heard: Heard) -> None:
    later = timezone.now() + timedelta(hours=1)
    async with embedded() as runtime:
        result = await sample.waits_on_loop.aenqueue()
        assert await asyncio.to_thread(sample.MEETING.arrived.acquire, timeout=20.0)
        backend: Any = task_backends["default"]
        assert await backend.acancel(result.id) is Cancel.ASKED
        second = await sample.note.using(run_after=later).aenqueue(1)
        assert await sync_to_async(backend.cancel)(second.id) is Cancel.CANCELLED
        await asyncio.to_thread(heard.wait, 1)
        assert runtime.is_open
    await result.arefresh()
    assert result.status is TaskResultStatus.FAILED
