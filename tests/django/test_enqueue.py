"""Enqueueing: a result at once, or a clear error and nothing written."""

import random
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.tasks import TaskResultStatus, task_backends
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist, TaskResultMismatch
from django.utils import timezone

from tests.django import sample
from tests.django.conftest import EACH_DATABASE, Change
from tests.django.helpers import NO_ROWS, arows, rows
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.core.envelope import decode, encode
from vtasks_asgi.db.models import Message
from vtasks_asgi.exceptions import PayloadTooLarge

pytestmark = EACH_DATABASE

TWO_QUEUES = {
    "TASKS": {
        "default": {
            "BACKEND": "vtasks_asgi.backends.database.DatabaseTaskBackend",
            "QUEUES": ["default", "mail"],
        }
    }
}


def backend() -> VTasksBackend:
    found = task_backends["default"]
    assert isinstance(found, VTasksBackend)
    return found


def test_enqueue_answers_with_a_ready_result() -> None:
    before = timezone.now()
    result = sample.add.enqueue(1, b=2)
    assert result.status is TaskResultStatus.READY
    assert (result.task, result.backend) == (sample.add, "default")
    assert (result.args, result.kwargs) == ([1], {"b": 2})
    assert (result.errors, result.worker_ids, result.attempts) == ([], [], 0)
    assert not result.is_finished
    assert result.enqueued_at is not None
    assert before <= result.enqueued_at <= timezone.now()
    assert 0 < len(result.id) < 64
    assert rows() == NO_ROWS | {"messages": 1}


async def test_aenqueue_does_the_same() -> None:
    result = await sample.aadd.aenqueue(1, b=2)
    assert result.status is TaskResultStatus.READY
    assert (result.args, result.kwargs) == ([1], {"b": 2})
    assert (await sample.aadd.aget_result(result.id)) == result


def test_what_was_enqueued_is_what_is_stored() -> None:
    result = sample.echo.using(priority=7).enqueue({"a": (1, 2)}, x=[None])
    message = Message.objects.get()
    call = decode(bytes(message.body))
    assert (message.uid, message.queue, message.priority) == (result.id, "default", 7)
    assert call.task == "tests.django.sample.echo"
    assert (call.args, call.kwargs) == ([{"a": [1, 2]}], {"x": [None]})
    assert result.args == [{"a": [1, 2]}]


def test_ids_are_unique_and_in_order() -> None:
    ids = [sample.add.enqueue(n).id for n in range(5)]
    assert len(set(ids)) == 5
    assert list(Message.objects.order_by("seq").values_list("uid", flat=True)) == ids


def test_using_selects_queue_priority_and_time(change: Change) -> None:
    change(**TWO_QUEUES)
    when = timezone.now() + timedelta(minutes=5)
    used = sample.add.using(queue_name="mail", priority=-5, run_after=when)
    result = used.enqueue(1)
    message = Message.objects.get()
    assert (message.queue, message.priority, message.state) == ("mail", -5, Message.State.DELAYED)
    assert message.run_at == pytest.approx(when.timestamp(), abs=1e-5)
    found = used.get_result(result.id)
    assert (found.task.queue_name, found.task.priority) == ("mail", -5)
    assert found.task.run_after is not None
    assert abs(found.task.run_after - when) < timedelta(milliseconds=1)


def test_get_result_finds_it_again() -> None:
    result = sample.add.enqueue(1)
    assert sample.add.get_result(result.id) == result
    assert sample.add.using(priority=5).get_result(result.id) == result
    result.refresh()
    assert result.status is TaskResultStatus.READY


async def test_so_does_aget_result() -> None:
    result = await sample.add.aenqueue(1)
    assert await sample.add.aget_result(result.id) == result
    await result.arefresh()
    with pytest.raises(TaskResultMismatch):
        await sample.aadd.aget_result(result.id)
    with pytest.raises(TaskResultDoesNotExist):
        await sample.add.aget_result("nothing")


def test_another_tasks_result_is_refused() -> None:
    result = sample.add.enqueue(1)
    with pytest.raises(TaskResultMismatch):
        sample.aadd.get_result(result.id)


@pytest.mark.parametrize("id", ["", "nothing", "0" * 32, "\x00", "' OR 1=1", "x" * 10_000])
def test_a_result_nobody_has_does_not_exist(id: str) -> None:
    sample.add.enqueue(1)
    with pytest.raises(TaskResultDoesNotExist):
        sample.add.get_result(id)


def test_the_result_of_an_unknown_task_says_what_to_do() -> None:
    result = sample.add.enqueue(1)
    call = decode(bytes(Message.objects.get().body))
    call.task = "somewhere.tasks.else"
    Message.objects.update(body=encode(call))
    with pytest.raises(TaskResultDoesNotExist, match=r"somewhere\.tasks\.else.*VTASKS_IMPORTS"):
        sample.add.get_result(result.id)


def test_naive_projects_get_naive_times(change: Change) -> None:
    change(USE_TZ=False, TIME_ZONE="Asia/Tokyo")
    when = datetime.now() + timedelta(hours=1)
    result = sample.add.using(run_after=when).enqueue(1)
    assert result.enqueued_at is not None
    assert result.enqueued_at.tzinfo is None
    tokyo = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=9)
    assert abs(result.enqueued_at - tokyo) < timedelta(minutes=1)


class Opaque:
    pass


BAD_VALUES: list[tuple[Any, str]] = [
    (b"bytes", "bytes"),
    (uuid.UUID(int=0), "UUID"),
    (Decimal("1.5"), "Decimal"),
    (datetime(2030, 1, 1, tzinfo=UTC), "datetime"),
    ({1, 2}, "set"),
    (Opaque(), "Opaque"),
    ({1: "one"}, "keys are strings"),
    (float("nan"), "nan"),
    (float("inf"), "inf"),
    (2**64, "64 bits"),
    ("\ud800", "surrogate|UTF-8|utf-8"),
    (lambda: None, "function"),
]


@pytest.mark.parametrize(("value", "error"), BAD_VALUES, ids=[repr(v)[:20] for v, _ in BAD_VALUES])
@pytest.mark.parametrize("where", ["args", "kwargs", "deep"])
def test_what_is_not_json_is_refused_and_nothing_written(
    value: object, error: str, where: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=error) as raised:
        if where == "args":
            sample.echo.enqueue(value)
        elif where == "kwargs":
            sample.echo.enqueue(value=value)
        else:
            sample.echo.enqueue([{"a": [value]}])
    if value != "\ud800":
        assert ("kwargs['value']" if where == "kwargs" else "args[0]") in str(raised.value)
    assert rows() == NO_ROWS


async def test_nor_by_aenqueue() -> None:
    with pytest.raises(TypeError, match=r"args\[0\] is a bytes"):
        await sample.echo.aenqueue(b"x")
    assert await arows() == NO_ROWS


def test_what_is_too_large_is_refused_and_nothing_written(change: Change) -> None:
    with pytest.raises(PayloadTooLarge, match="Store the data elsewhere and pass its key"):
        sample.echo.enqueue(uuid.uuid4().hex + "".join(map(chr, range(32, 50_000))) * 100)
    change(
        TASKS={
            "default": {
                "BACKEND": "vtasks_asgi.backends.database.DatabaseTaskBackend",
                "OPTIONS": {"MAX_PAYLOAD": 1024},
            }
        }
    )
    with pytest.raises(PayloadTooLarge, match="the limit is 1024"):
        sample.echo.enqueue(random.Random(1).randbytes(2000).hex())
    assert rows() == NO_ROWS


def test_a_wrong_queue_is_refused_and_nothing_written() -> None:
    with pytest.raises(InvalidTask, match=r"Queue 'mial' .*VTASKS_QUEUES.*known: default"):
        backend().enqueue_many([(sample.add, [1], {}), (sample.add, [1], {"queue_name": "mial"})])
    assert rows() == NO_ROWS
