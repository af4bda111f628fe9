"""The helpers on each store as it is: all they do goes through the contract."""

from datetime import timedelta

import pytest
from django.tasks import TaskResultStatus
from django.utils import timezone

from tests.django import sample
from tests.django.conftest import Change
from tests.django.everywhere import each_backend
from tests.django.helpers import refreshed
from tests.testing.test_drain import names
from tests.testing.test_drain_batches import total
from vtasks_asgi.testing import (
    adrain,
    assert_enqueued,
    capture_tasks,
    drain,
    enqueued,
    refute_enqueued,
)

__all__ = ["each_backend"]


@pytest.fixture(autouse=True)
def store(each_backend: object) -> None:
    """Each test on each kind of store."""


def test_drain() -> None:
    result = sample.enqueues.enqueue("inner")
    sample.anote.enqueue("other")
    assert names(drain(raise_errors=True)) == ["enqueues", "anote", "note"]
    assert sample.SEEN == ["other", "inner"]
    result.refresh()
    assert result.status is TaskResultStatus.SUCCESSFUL
    assert drain() == []


async def test_drain_from_a_coroutine() -> None:
    result = await sample.aenqueues.aenqueue("inner")
    assert names(await adrain()) == ["aenqueues", "note"]
    await result.arefresh()
    assert result.status is TaskResultStatus.SUCCESSFUL


def test_failures_and_retries() -> None:
    lucky = sample.third_time_lucky.enqueue()
    unlucky = sample.fails.enqueue()
    later = sample.fails_later.enqueue()
    assert len(drain()) == 5
    found = refreshed(lucky, unlucky, later)
    assert [result.status for result in found] == ["SUCCESSFUL", "FAILED", "READY"]
    with pytest.raises(ValueError, match="broken"):
        sample.fails.enqueue("broken")
        drain(raise_errors=True)


def test_batches(change: Change) -> None:
    change(VTASKS_BATCH_QUEUES={"b": {"count": 3, "timeout": 5.0, "task": total.module_path}})
    results = [sample.add.using(queue_name="b").enqueue(n) for n in range(4)]
    assert [ran.id for ran in drain()] == [result.id for result in results]
    for result in results:
        result.refresh()
        assert result.status is TaskResultStatus.SUCCESSFUL


def test_assertions() -> None:
    sample.add.enqueue(1, b=2)
    later = timezone.now() + timedelta(days=1)
    sample.note.using(run_after=later).enqueue("x")
    [added] = assert_enqueued(sample.add, args=[1], kwargs={"b": 2}, count=1)
    [noted] = assert_enqueued(sample.note, args=["x"])
    assert (added.task.run_after, noted.task.run_after) == (None, later)
    drain()
    refute_enqueued(sample.add)
    assert [result.id for result in enqueued()] == [noted.id]


def test_captures() -> None:
    with capture_tasks(swallow=True):
        sample.add.enqueue(1)
        assert_enqueued(sample.add, count=1)
    refute_enqueued()
    with capture_tasks() as tasks:
        sample.add.enqueue(2)
        drain()
    assert [result.args for result in tasks] == [[2]]
