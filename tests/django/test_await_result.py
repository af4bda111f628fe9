"""Waiting for results: told at once in the worker's own process, found soon from elsewhere."""

import asyncio
import pickle
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django import VERSION as DJANGO
from django.core.exceptions import SynchronousOnlyOperation
from django.tasks import TaskResultStatus
from django.tasks.exceptions import TaskResultDoesNotExist
from django.tasks.signals import task_enqueued, task_finished

from tests.django import asking, sample
from tests.django.helpers import embedded, run, working
from vtasks_asgi import VTaskResult, task_result
from vtasks_asgi.exceptions import TaskFailed


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has to look for a result will not find it before the test's patience is over."""
    monkeypatch.setattr(task_result, "POLL_FIRST", 1000.0)
    monkeypatch.setattr(task_result, "POLL_LAST", 1000.0)


async def test_in_the_workers_own_process_it_is_told_at_once(seldom: None) -> None:
    async with embedded():
        result = await sample.aadd.aenqueue(1, 2)
        assert await result.await_result(20.0) == 3
        again = await sample.add.aenqueue(3, 4)
        assert await asyncio.gather(*(again.await_result(20.0) for _ in range(3))) == [7] * 3


async def test_through_retries_too(seldom: None) -> None:
    async with embedded():
        result = await sample.third_time_lucky.aenqueue()
        assert await result.await_result(20.0) == "lucky"
        assert result.attempts == 3


async def test_a_result_that_is_there_already_needs_no_waiting(seldom: None) -> None:
    async with embedded() as runtime:
        result = await sample.add.aenqueue(1, 2)
        await result.await_result(20.0)
        assert await result.await_result(0.0) == 3
        assert runtime.settled._waiting == {}


def test_from_another_process_it_is_found() -> None:
    result = sample.add.enqueue(1, 2)
    with working():
        assert result.wait(20.0) == 3
        assert asyncio.run(sample.add.enqueue(2, 2).await_result(20.0)) == 4
    assert result.status is TaskResultStatus.SUCCESSFUL
    assert result.wait() == 3


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_failure_is_raised_with_its_reason_and_traceback(kind: str) -> None:
    result = sample.fails_thrice.enqueue()
    run(3)
    with pytest.raises(TaskFailed) as caught:
        result.wait(20.0) if kind == "sync" else asyncio.run(result.await_result(20.0))
    error = caught.value
    assert str(error) == (
        f"task tests.django.sample.fails_thrice ({result.id}) was given up on: max_attempts,"
        " last with builtins.KeyError"
    )
    assert (error.id, error.reason, len(error.errors)) == (result.id, "max_attempts", 3)
    [note] = error.__notes__
    assert "in fails_thrice" in note


def test_a_failure_without_an_attempt_is_raised_too() -> None:
    error = TaskFailed("1", "a.task", "expired", [])
    assert str(error) == "task a.task (1) was given up on: expired"
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_patience_may_end(kind: str) -> None:
    result = sample.add.enqueue(1)
    told = rf"sample.add \({result.id}\) has not finished within 0.01 s"
    with pytest.raises(TimeoutError, match=told):
        result.wait(0.01) if kind == "sync" else asyncio.run(result.await_result(0.01))
    assert result.status is TaskResultStatus.READY


async def test_a_cancelled_waiter_is_forgotten() -> None:
    async with embedded() as runtime:
        result = await sample.waits_in_thread.aenqueue()
        waiting = asyncio.create_task(result.await_result())
        await sync_to_async(sample.MEETING.arrived.acquire)(timeout=20.0)
        while not runtime.settled._waiting:  # noqa: ASYNC110 - it has to look once before
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert waiting.cancelled()
        assert runtime.settled._waiting == {}
        sample.MEETING.go.set()


def test_what_is_not_kept_cannot_be_waited_for() -> None:
    result = sample.traceless.enqueue()
    run(1)
    with pytest.raises(TaskResultDoesNotExist):
        result.wait(20.0)
    with pytest.raises(TaskResultDoesNotExist):
        asyncio.run(result.await_result(20.0))


async def test_a_coroutine_must_not_block() -> None:
    result = await sample.add.aenqueue(1)
    with pytest.raises(SynchronousOnlyOperation, match="use await_result"):
        result.wait()


class TestEveryResultIsOneOfOurs:
    def test_wherever_it_comes_from(self) -> None:
        heard: list[Any] = []

        def hear(sender: Any, task_result: Any, **kwargs: Any) -> None:
            heard.append(task_result)

        for signal in (task_enqueued, task_finished):
            signal.connect(hear)
        try:
            result = asking.tells_context.enqueue()
            run(1)
        finally:
            for signal in (task_enqueued, task_finished):
                signal.disconnect(hear)
        heard += [result, asking.tells_context.get_result(result.id)]
        assert [type(each) for each in heard] == [VTaskResult] * 4

    def test_it_is_equal_to_another_of_the_same_message(self) -> None:
        result = sample.add.enqueue(1)
        assert result == sample.add.get_result(result.id)
        assert result != sample.add.enqueue(1)

    def test_it_is_frozen_as_djangos_is(self) -> None:
        result = sample.add.enqueue(1)
        for field in fields(VTaskResult):
            with pytest.raises(FrozenInstanceError):
                setattr(result, field.name, None)

    @pytest.mark.skipif(DJANGO < (6, 1), reason="tasks can be pickled since Django 6.1")
    def test_it_can_be_pickled(self) -> None:
        result = sample.add.enqueue(1, b=2)
        assert pickle.loads(pickle.dumps(result)) == result

    def test_refreshing_brings_what_ours_adds(self) -> None:
        result = sample.fails.enqueue()
        stale = sample.fails.get_result(result.id)
        run(1)
        reasons = [stale.reason]
        stale.refresh()
        assert [*reasons, stale.reason] == [None, "max_attempts"]
        asyncio.run(result.arefresh())
        assert result == stale
