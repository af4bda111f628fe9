"""Groups and ``then`` in a project's own tests: drained, immediate, captured, rolled back."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import transaction
from django.test import TestCase

from tests.django import batch_tasks
from tests.django.conftest import Change
from tests.django.group_tasks import (
    SAW,
    adouble,
    bigger,
    broken,
    complete,
    double,
    last,
    saw,
    silent,
    third_time_lucky,
    told,
)
from vtasks_asgi import GroupProgress, agroup, group
from vtasks_asgi.backends.memory import MemoryTaskBackend
from vtasks_asgi.exceptions import GroupDoesNotExist
from vtasks_asgi.testing import adrain, capture_tasks, drain, immediate_tasks, memory_tasks

type Memory = MemoryTaskBackend


@pytest.fixture(autouse=True)
def nothing_seen() -> Iterator[None]:
    SAW.clear()
    yield
    SAW.clear()


def names(results: object) -> list[str]:
    return [each.task.name for each in results]  # type: ignore[attr-defined]


def test_drain_runs_the_callback_and_what_comes_then(vtasks: Memory) -> None:
    made = group([double.item(1), broken.item(2)], on_complete=told.using(then=last.item("end")))
    assert names(drain()) == ["double", "broken", "told", "last"]
    assert SAW == [saw("told", made.id, 2, 1, "SUCCESSFUL", "FAILED"), (["end"], None)]


async def test_from_a_coroutine(vtasks: Memory) -> None:
    made = await agroup([adouble.item(1)], on_success=complete)
    await adrain()
    assert SAW == [saw("complete", made.id, 1, 0, "SUCCESSFUL")]
    assert (await made.await_done(5.0)).done


def test_a_retry_in_between(vtasks: Memory) -> None:
    made = group([third_time_lucky.item()], on_complete=complete)
    drain(advance=timedelta(hours=1))
    assert SAW == [saw("complete", made.id, 1, 0, "SUCCESSFUL")]


def test_a_member_that_was_cancelled_or_purged(vtasks: Memory) -> None:
    made = group([double.item(number) for number in range(3)], on_complete=complete)
    first, second, _ = made.members()
    vtasks.cancel(first)
    vtasks.memory._forget(second)  # as a purge does
    assert names(drain()) == ["double", "complete"]
    assert SAW == [saw("complete", made.id, 3, 2, "FAILED", None, "SUCCESSFUL")]


def test_all_members_were_cancelled(vtasks: Memory) -> None:
    made = group([double.item(1)], on_failure=complete)
    [only] = made.members()
    vtasks.cancel(only)
    assert names(drain(advance=timedelta(seconds=1))) == ["complete"]


def test_a_group_and_its_callback_are_rolled_back(vtasks: Memory) -> None:
    with transaction.atomic():
        made = group([double.item(1)], on_complete=complete)
        empty = group([], on_complete=complete)
        assert made.progress() == GroupProgress(1, 0, 0, 1)
        transaction.set_rollback(True)
    for each in (made, empty):
        with pytest.raises(GroupDoesNotExist):
            each.progress()
    assert drain() == []


class InATestCase(TestCase):
    """Where no transaction ever commits."""

    def test_drain(self) -> None:
        SAW.clear()
        with memory_tasks():
            made = group([double.item(1)], on_complete=told.using(then=last))
            drain()
        assert SAW[0][:2] == ("told", made.id)
        assert SAW[1] == ([], None)

    def test_immediately(self) -> None:
        SAW.clear()
        with immediate_tasks():
            made = group([double.item(1)], on_complete=told)
        assert SAW[0][:2] == ("told", made.id)


def test_what_follows_is_captured(vtasks: Memory) -> None:
    with capture_tasks() as captured:
        group([double.using(then=last.item(1)).item(1)], on_complete=complete)
        group([], on_complete=told)
        drain()
    assert sorted(names(captured)) == ["complete", "double", "last", "told"]


# -- immediately


def test_immediate_tasks_run_all_within_the_call() -> None:
    with immediate_tasks():
        made = group([double.item(1), broken.item(2), silent.item(3)], on_complete=complete)
        assert SAW == [saw("complete", made.id, 3, 1, "SUCCESSFUL", "FAILED", None)]
        assert made.progress() == GroupProgress(3, 2, 1, 0)
        group([], on_complete=told)
        assert SAW[1][0] == "told"


async def test_immediately_in_a_coroutine() -> None:
    with immediate_tasks():
        made = await agroup([adouble.item(1)], on_complete=complete)
        assert SAW == [saw("complete", made.id, 1, 0, "SUCCESSFUL")]


def test_immediately_one_after_the_other() -> None:
    with immediate_tasks():
        double.using(then=bigger.using(then=last.item("end")).item(by=5)).enqueue(1)
    assert SAW == [(["end"], 7)]


def test_what_comes_then_may_be_for_a_batch(change: Change) -> None:
    change(VTASKS_BATCH_QUEUES={"b": {"count": 3, "timeout": 5.0}})
    with immediate_tasks() as backend:
        double.using(then=batch_tasks.load.using(queue_name="b").item([])).enqueue(1)
        assert [each["args"] for each in backend.pending_batches["b"]] == [[[]]]


def test_a_flushed_batch_is_followed(change: Change) -> None:
    change(VTASKS_BATCH_QUEUES={"b": {"count": 3, "timeout": 5.0}})
    batch_tasks.ANSWER[:] = [lambda items: None]
    with immediate_tasks() as backend:
        item = batch_tasks.load.using(queue_name="b", then=last.item("flushed"))
        made = group([(item, (), {"number": 1})], on_complete=complete)
        assert SAW == []
        backend.flush_batch("b")
        assert sorted(map(str, SAW)) == sorted(
            map(str, [(["flushed"], None), saw("complete", made.id, 1, 0, "SUCCESSFUL")])
        )
