"""Batches know what single tasks may ask for: retries, discards, time limits, expiry, the hook."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.django import batch_tasks
from tests.django.batch_tasks import ANSWER, CALLS, Items, load
from tests.django.conftest import Change
from tests.django.helpers import AnyResult, refreshed, run
from vtasks_asgi import task
from vtasks_asgi.core.envelope import decode, encode
from vtasks_asgi.core.outcome import Dead, Done, Retry
from vtasks_asgi.db.models import DeadLetter, Message
from vtasks_asgi.exceptions import DiscardTask, RetryTask

AROUND: list[Any] = []


@pytest.fixture(autouse=True)
def queue(change: Change) -> None:
    CALLS.clear()
    AROUND.clear()
    batch_tasks.THREADS.clear()
    ANSWER[:] = [lambda items: None]
    change(VTASKS_BATCH_QUEUES={"b": {"count": 8, "timeout": 0.05}})


def gather(task: Any, count: int, **options: Any) -> list[AnyResult]:
    used = task.using(queue_name="b", **options)
    return [used.enqueue(number=number) for number in range(count)]


def number(item: Any) -> int:
    return int(item["kwargs"]["number"])


def test_each_item_may_ask_for_its_own_end() -> None:
    ends = [None, RetryTask(delay=1000.0), DiscardTask("gone"), ValueError("broken")]
    ANSWER[:] = [lambda items: [ends[number(item)] for item in items]]
    results = gather(load, 4)
    outcomes = dict(zip([0, 1, 2, 3], [o for _, o in run(4)], strict=True))
    assert [type(outcomes[n]) for n in range(4)] == [Done, Retry, Dead, Retry]
    assert outcomes[1].delay == 1000.0  # type: ignore[union-attr]
    assert [result.reason for result in refreshed(*results)] == [None, None, "discarded", None]
    assert DeadLetter.objects.get().uid == results[2].id


@task(max_attempts=1, timeout=0.3)
def slow(items: Items) -> Any:
    batch_tasks.answer(items)
    end = time.monotonic() + 20.0
    while 2 in map(number, items) and time.monotonic() < end:
        time.sleep(0.001)


@task(max_attempts=1, timeout=0.3)
async def aslow(items: Items) -> Any:
    batch_tasks.answer(items)
    if 2 in map(number, items):
        await asyncio.Event().wait()


@pytest.mark.parametrize("of", [slow, aslow], ids=["sync", "async"])
def test_who_takes_too_long_is_found_and_the_others_are_done(of: Any) -> None:
    results = gather(of, 4)
    run(4)
    failed = [result for result in refreshed(*results) if result.reason]
    assert failed == [results[2]]
    [error] = failed[0].errors
    assert error.exception_class_path == "vtasks_asgi.core.errors.TaskTimeout"
    assert "longer than its timeout of 0.3 s" in error.traceback


def test_what_has_expired_is_no_part_of_it() -> None:
    results = gather(load, 3, expires=60)
    message = Message.objects.get(uid=results[1].id)
    call = decode(bytes(message.body))
    call.expires_at = call.enqueued_at
    Message.objects.filter(uid=results[1].id).update(body=encode(call))
    run(3)
    assert [result.reason for result in refreshed(*results)] == [None, "expired", None]
    assert [number(item) for call in CALLS for item in call] == [0, 2]


@contextmanager
def around(**told: Any) -> Iterator[None]:
    AROUND.append(told)
    yield
    AROUND.append("left")


def test_the_hook_is_told_of_all_of_them(change: Change) -> None:
    change(VTASKS_TASK_CONTEXT=f"{__name__}.around")
    results = gather(load, 3)
    run(3)
    assert AROUND == [
        {
            "task_id": None,
            "task_ids": [result.id for result in results],
            "name": load.module_path,
            "queue": "b",
            "attempt": None,
            "metadata": {},
        },
        "left",
    ]
