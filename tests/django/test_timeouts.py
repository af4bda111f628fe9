"""Time limits: a task is asked to end when its time is over, and left behind when it does not."""

import logging
import threading
from datetime import datetime

import pytest
from django.contrib.auth.models import Group
from django.tasks import TaskResultStatus
from django.utils import timezone

from tests.django import asking, sample
from tests.django.conftest import Change
from tests.django.helpers import NO_ROWS, SYNC_AND_ASYNC, AnyResult, done, rows, run, working
from vtasks_asgi import timeouts
from vtasks_asgi.core.outcome import Dead, Done, Release, Retry
from vtasks_asgi.db.models import Message
from vtasks_asgi.exceptions import TaskFailed
from vtasks_asgi.runtime.events import Listener, hub
from vtasks_asgi.store.base import Claim

TIMEOUT = "vtasks_asgi.core.errors.TaskTimeout"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little time to end after the timeout."""
    monkeypatch.setattr(timeouts, "GRACE", 0.05)


def failed_in_time(result: AnyResult) -> str:
    """The traceback of the one attempt, which failed for its time limit."""
    assert result.status is TaskResultStatus.FAILED
    [error] = result.errors
    assert error.exception_class_path == TIMEOUT
    assert "longer than its timeout of 0.05 s" in error.traceback
    return error.traceback


def test_a_coroutine_is_cancelled() -> None:
    told = failed_in_time(done(asking.asleeps.enqueue()))
    assert sample.SEEN == ["cancelled"]
    assert "in asleeps" in told, "where it was"


def test_a_function_is_interrupted_wherever_it_is() -> None:
    told = failed_in_time(done(asking.spins.enqueue()))
    assert sample.SEEN == ["interrupted"]
    assert "in spins" in told, "where it was"


def test_what_ends_in_time_is_left_alone() -> None:
    result = done(asking.spins_within_limit.enqueue(0.0))
    assert result.return_value == "went on"
    assert sample.SEEN == []


def test_a_coroutine_that_ends_well_although_cancelled_has_ended_well() -> None:
    """As with ``asyncio.timeout``."""
    assert done(asking.asleeps.enqueue(swallow=True)).return_value == "went on"


def test_a_timeout_of_its_own_is_no_time_limit() -> None:
    [error] = done(asking.times_out_itself.enqueue()).errors
    assert error.exception_class is TimeoutError


def test_it_is_a_failure_that_may_be_tried_again() -> None:
    result = asking.slow_at_first.enqueue()
    assert [type(outcome) for _, outcome in run(2)] == [Retry, Done]
    result.refresh()
    assert result.return_value == "in time"
    assert [error.exception_class_path for error in result.errors] == [TIMEOUT]


def test_or_not_if_the_task_says_so() -> None:
    result = done(asking.slow_once.enqueue())
    assert (result.reason, result.attempts) == ("not_retryable", 1)


def test_what_a_transactional_task_did_until_then_is_undone() -> None:
    failed_in_time(done(asking.writes_and_spins.enqueue("late")))
    asking.writes_within_limit.enqueue("in time")
    run(1)
    assert list(Group.objects.values_list("name", flat=True)) == ["in time"]


class Left(Listener):
    def __init__(self) -> None:
        self.stacks: list[str] = []

    def left_behind(self, claim: Claim, task: str, stack: str) -> None:
        self.stacks.append(stack)


@pytest.mark.parametrize("name", ["hangs", "ahangs"])
def test_who_does_not_end_is_left_behind_and_its_slot_is_free(
    name: str, short: None, caplog: pytest.LogCaptureFixture
) -> None:
    result, left = getattr(asking, name).enqueue(), Left()
    hub.add(left)
    try:
        with working(concurrency=1) as worker:
            with pytest.raises(TaskFailed):
                result.wait(20.0)
            after = [sample.add.enqueue(1, number) for number in range(3)]
            assert [each.wait(20.0) for each in after] == [1, 2, 3]
            assert failed_in_time(result).count("did not end within 0.05 s") == 1
            assert not sample.MEETING.go.is_set(), "it still hangs"
            sample.MEETING.go.set()
    finally:
        sample.MEETING.go.set()
        hub.remove(left)
    assert [type(outcome) for _, outcome in worker.ear.outcomes] == [Dead, Done, Done, Done]
    assert rows() == NO_ROWS | {"results": 3, "dead": 1}, "what came too late changed nothing"
    [line] = [r for r in caplog.records if getattr(r, "vtasks_event", "") == "left_behind"]
    assert line.levelno == logging.ERROR
    [stack] = left.stacks
    assert f"in {name}" in stack
    assert stack in line.getMessage()
    assert stack.splitlines()[-1].strip() in result.errors[0].traceback


def test_a_thread_that_a_coroutine_waits_for_is_waited_for_no_longer(short: None) -> None:
    result = asking.ahangs_in_a_thread.enqueue()
    with working(concurrency=1):
        with pytest.raises(TaskFailed):
            result.wait(20.0)
        assert sample.aadd.enqueue(1, 1).wait(20.0) == 2
        assert sample.athread_names.enqueue().wait(20.0)[0] == "test-worker"
        sample.MEETING.go.set()
    assert "in ahangs_in_a_thread" in failed_in_time(result)


def test_a_thread_that_comes_back_serves_again(short: None) -> None:
    asking.hangs.enqueue()
    with working(concurrency=2) as worker:
        assert sample.MEETING.arrived.acquire(timeout=20.0)
        worker.ear.wait(1)
        threads = {t for t in threading.enumerate() if t.name.startswith("vtasks-crew")}
        sample.MEETING.go.set()
        for _ in range(20):
            sample.add.enqueue(1)
        worker.ear.wait(21)
    for thread in threads:
        thread.join(20.0)
        assert not thread.is_alive()


def test_what_is_left_behind_does_not_hold_up_the_end(short: None, change: Change) -> None:
    change(VTASKS_DRAIN_TIMEOUT=20)
    asking.hangs.enqueue()
    with working() as worker:
        worker.ear.wait(1)
    assert not sample.MEETING.go.is_set()
    sample.MEETING.go.set()


@SYNC_AND_ASYNC
def test_a_task_knows_its_deadline(kind: str) -> None:
    result = done(getattr(asking, f"{kind}deadline").enqueue())
    moment, remaining = result.return_value
    assert 10.0 < remaining <= 30.0
    assert result.started_at is not None
    seconds = (datetime.fromisoformat(moment) - result.started_at).total_seconds()
    assert seconds == pytest.approx(30.0, abs=10.0)
    assert timezone.is_aware(datetime.fromisoformat(moment))


def test_without_a_limit_there_is_none() -> None:
    assert done(asking.no_deadline.enqueue()).return_value == [None, None]


@pytest.mark.parametrize("name", ["waits_within_limit", "awaits_within_limit"])
def test_a_stop_cancels_a_task_with_a_limit_as_any_other(name: str, change: Change) -> None:
    change(VTASKS_DRAIN_TIMEOUT=0)
    getattr(asking, name).enqueue()
    with working() as worker:
        assert sample.MEETING.arrived.acquire(timeout=20.0)
    sample.MEETING.go.set()
    message = Message.objects.get()
    assert (message.state, message.attempt) == (Message.State.READY, 0)
    assert [type(outcome) for _, outcome in worker.ear.outcomes] == [Release]
