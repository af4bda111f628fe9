"""What messages and functions may ask for, in a batch: retries, discards, expiry, time limits."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.django import batch_tasks
from tests.django.batch_tasks import ANSWER, CALLS, Items, load, numbers, once
from tests.django.conftest import Change
from tests.django.helpers import SYNC_AND_ASYNC, AnyResult, refreshed, run
from vtasks_asgi.db.models import DeadLetter, Message
from vtasks_asgi.exceptions import DiscardTask, RetryTask, TaskTimeout

BATCH: dict[str, Any] = {"count": 8, "timeout": 0.05}

#: What the hook of the project was told of each call.
AROUND: list[dict[str, Any]] = []


@pytest.fixture(autouse=True)
def queue(change: Change) -> None:
    CALLS.clear()
    AROUND.clear()
    change(VTASKS_BATCH_QUEUES={"b": BATCH})


def gather(task: Any, count: int, **options: Any) -> list[AnyResult]:
    task = task.using(queue_name="b", **options)
    return [task.enqueue(number=number) for number in range(count)]


def states(results: list[AnyResult]) -> str:
    return "".join(str(result.status)[0] for result in refreshed(*results))


def test_an_item_may_ask_to_be_tried_later_or_never_again() -> None:
    ANSWER[:] = [lambda items: [None, RetryTask(delay=3600), DiscardTask("outdated")]]
    results = gather(load, 3)
    run(3)
    assert states(results) == "SRF"
    [waiting] = Message.objects.all()
    assert waiting.uid == results[1].id
    assert (waiting.attempt, results[1].attempts) == (1, 1)
    assert DeadLetter.objects.get().reason == "discarded"
    assert "outdated" in results[2].errors[0].traceback


def test_one_that_is_raised_is_that_of_the_item_at_hand() -> None:
    """As in a loop over the items, which ends there."""

    def loop(items: Items) -> None:
        for item in items:
            if item["kwargs"]["number"] == 1:
                raise DiscardTask("outdated")

    ANSWER[:] = [loop]
    results = gather(load, 3)
    run(3)
    assert states(results) == "SFS"
    assert results[1].attempts == 1


def test_an_expired_message_is_not_among_the_items() -> None:
    ANSWER[:] = [lambda items: None]
    late = gather(load, 1, expires=timezone.now() + timedelta(seconds=0.01))
    good = gather(load, 2)
    time.sleep(0.02)
    run(3)
    assert numbers() == [[0, 1]]
    assert states(late + good) == "FSS"
    assert DeadLetter.objects.get().reason == "expired"


@SYNC_AND_ASYNC
def test_a_time_limit_is_that_of_a_call_and_finds_the_culprit(kind: str) -> None:
    results = gather(getattr(batch_tasks, f"{kind}hangs"), 3)
    run(3)
    assert states(results) == "SFS"
    [error] = results[1].errors
    assert error.exception_class is TaskTimeout


@contextmanager
def around(**told: Any) -> Iterator[None]:
    AROUND.append(told)
    yield


def test_the_hook_of_the_project_surrounds_each_call(change: Change) -> None:
    change(VTASKS_TASK_CONTEXT="tests.django.test_batches_asked.around")
    ANSWER[:] = [lambda items: None]
    results = gather(once, 2)
    run(2)
    [told] = AROUND
    assert told["task_ids"] == [result.id for result in results]
    assert (told["name"], told["queue"]) == (once.module_path, "b")


def test_who_waits_for_a_result_gets_it() -> None:
    ANSWER[:] = [lambda items: [item["kwargs"]["number"] + 1 for item in items]]
    results = gather(load, 2)
    run(2)
    waited = [asyncio.run(result.await_result(timeout=5)) for result in results]
    assert waited == [1, 2]
