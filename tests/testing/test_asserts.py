"""Assertions about what was enqueued, and what they say when they fail."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.tasks import Task as DjangoTask
from django.tasks import task_backends
from django.test import TestCase
from django.utils import timezone

from tests.django import sample
from tests.django.conftest import Change
from tests.django.helpers import rows
from vtasks_asgi.backends.immediate import ImmediateBackend
from vtasks_asgi.backends.memory import MemoryTaskBackend
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.testing import (
    Captured,
    assert_enqueued,
    capture_tasks,
    drain,
    enqueued,
    immediate_tasks,
    memory_tasks,
    refute_enqueued,
)

type Memory = MemoryTaskBackend

#: As ``django.tasks.task`` makes one where another backend is the default.
PLAIN: "DjangoTask[..., Any]" = DjangoTask(
    func=sample.note.func, priority=0, backend="default", queue_name="default", run_after=None
)


def fails(**wanted: Any) -> str:
    """How ``assert_enqueued(sample.add, …)`` fails."""
    with pytest.raises(AssertionError) as raised:
        assert_enqueued(sample.add, **wanted)
    return str(raised.value)


# -- what matches


def test_what_waits_is_found(vtasks: Memory) -> None:
    first = sample.add.enqueue(1, b=2)
    second = sample.add.using(run_after=timezone.now() + timedelta(days=1)).enqueue(3)
    sample.note.enqueue("x")
    assert [result.id for result in assert_enqueued(sample.add)] == [first.id, second.id]
    assert [result.id for result in assert_enqueued(sample.add, args=[1])] == [first.id]
    assert_enqueued(sample.add, args=(1,), kwargs={"b": 2}, queue_name="default", count=1)
    assert_enqueued(sample.add, count=2)
    assert_enqueued(sample.note.using(priority=5), args=["x"])


def test_what_has_run_waits_no_longer(vtasks: Memory) -> None:
    sample.add.enqueue(1)
    drain()
    refute_enqueued(sample.add)
    refute_enqueued()


def test_arguments_are_compared_as_they_travel(vtasks: Memory) -> None:
    sample.echo.enqueue((1, 2), deep={"a": (3,)})
    assert_enqueued(sample.echo, args=[[1, 2]], kwargs={"deep": {"a": [3]}})
    assert_enqueued(sample.echo, args=[(1, 2)], kwargs={"deep": {"a": (3,)}})


@pytest.mark.parametrize(
    "other",
    [
        {"args": [2]},
        {"args": []},
        {"args": [1, 2]},
        {"kwargs": {}},
        {"kwargs": {"b": 3}},
        {"queue_name": "low"},
        {"count": 0},
        {"count": 2},
    ],
    ids=str,
)
def test_what_is_not_like_it_does_not_match(vtasks: Memory, other: dict[str, Any]) -> None:
    sample.add.enqueue(1, b=2)
    fails(**other)
    if "count" not in other:
        refute_enqueued(sample.add, **other)


def test_many_are_all_found(vtasks: Memory) -> None:
    vtasks.enqueue_many([(sample.note, [n], {}) for n in range(1234)])
    assert_enqueued(sample.note, count=1234)


async def test_in_a_coroutine(vtasks: Memory) -> None:
    await sample.add.aenqueue(1)
    assert_enqueued(sample.add, args=[1], count=1)


def test_a_real_store_is_looked_into() -> None:
    sample.add.enqueue(1)
    assert_enqueued(sample.add, args=[1], count=1)
    with transaction.atomic(), pytest.raises(ConfigurationError, match="open transaction"):
        refute_enqueued(sample.note)


def test_another_alias(change: Change) -> None:
    memory = {"BACKEND": "vtasks_asgi.backends.memory.MemoryTaskBackend"}
    change(TASKS={"default": memory, "other": memory})
    sample.add.using(backend="other").enqueue(1)
    assert enqueued() == []
    [result] = assert_enqueued(sample.add, among=enqueued(backend="other"))
    assert result.backend == "other"


# -- what failures say


def test_a_failure_shows_what_was_enqueued(vtasks: Memory) -> None:
    sample.add.using(priority=5).enqueue(1, b=2)
    sample.echo.enqueue("x", more=[1])
    text = fails(args=[7], kwargs={"b": 2}, queue_name="low", count=3)
    assert text == (
        "tests.django.sample.add with args=[7], kwargs={'b': 2}, queue_name='low' should have been"
        " enqueued 3 times, but was 0 times. Enqueued were:\n"
        "  tests.django.sample.add(1, b=2) in queue 'default', priority 5\n"
        "  tests.django.sample.echo('x', more=[1]) in queue 'default'"
    )


def test_a_failure_tells_delays(vtasks: Memory) -> None:
    later = timezone.now() + timedelta(days=1)
    sample.note.using(run_after=later).enqueue("x")
    assert f"sample.note('x') in queue 'default', not before {later}" in fails()


def test_nothing_is_told_as_nothing(vtasks: Memory) -> None:
    assert fails().endswith("at least once, but was 0 times. Nothing was enqueued.")


def test_much_is_told_in_part(vtasks: Memory) -> None:
    vtasks.enqueue_many([(sample.note, [n], {}) for n in range(60)])
    text = fails()
    assert text.endswith("  and 10 more")
    assert text.count("\n") == 51


def test_a_refutation_shows_it_too(vtasks: Memory) -> None:
    sample.add.enqueue(1)
    with pytest.raises(AssertionError, match=r"sample.add should not have .*\n .*sample\.add\(1\)"):
        refute_enqueued(sample.add)
    with pytest.raises(AssertionError, match=r"any task with args=\[1\] should not"):
        refute_enqueued(args=[1])
    refute_enqueued(sample.note)
    refute_enqueued(sample.add, args=[2])


# -- capturing


def test_what_is_captured_goes_its_way(vtasks_captured: Captured) -> None:
    result = sample.add.enqueue(1)
    assert [each.id for each in vtasks_captured] == [result.id]
    assert rows()["messages"] == 1
    assert_enqueued(sample.add, args=[1], count=1)
    drain()
    assert_enqueued(sample.add, count=1)


async def test_from_coroutines_and_in_bulk(vtasks_captured: Captured) -> None:
    backend = task_backends["default"]
    await sample.add.aenqueue(1)
    await backend.aenqueue_many([(sample.add, [2], {}), (sample.note, [3], {})])  # type: ignore[attr-defined]
    assert [result.args for result in vtasks_captured] == [[1], [2], [3]]
    assert [result.args for result in vtasks_captured[1:]] == [[2], [3]]


def test_swallowed_enqueues_are_recorded_only() -> None:
    with capture_tasks(swallow=True) as tasks:
        sample.note.enqueue("x")
        assert_enqueued(sample.note, args=["x"])
    assert_enqueued(sample.note, args=["x"], among=tasks)
    assert rows()["messages"] == 0
    refute_enqueued(sample.note)


def test_what_runs_at_once_is_captured(vtasks_immediate: ImmediateBackend) -> None:
    with pytest.raises(ConfigurationError, match=r"keeps no messages.*capture_tasks"):
        refute_enqueued(sample.enqueues)
    with capture_tasks():
        sample.enqueues.enqueue("inner")
        assert_enqueued(sample.enqueues, count=1)
        assert_enqueued(sample.note, args=["inner"], count=1)


def test_djangos_own_backends_are_captured(change: Change) -> None:
    change(TASKS={"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}})
    with capture_tasks():
        sample.add.enqueue(1)
        assert_enqueued(sample.add, args=[1])
    with pytest.raises(ConfigurationError, match="has no worker"):
        enqueued()


def test_a_task_of_another_backend_is_swallowed(change: Change) -> None:
    change(TASKS={"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}})
    with capture_tasks(swallow=True):
        PLAIN.enqueue("x")
        assert_enqueued(PLAIN, args=["x"])
    assert sample.SEEN == []


def test_the_innermost_capture_counts(vtasks: Memory) -> None:
    with capture_tasks() as outer:
        sample.note.enqueue(1)
        with capture_tasks() as inner:
            sample.note.enqueue(2)
            assert_enqueued(sample.note, count=1)
        assert_enqueued(sample.note, count=2)
    assert ([r.args for r in outer], [r.args for r in inner]) == ([[1], [2]], [[2]])


def test_nothing_is_captured_afterwards(vtasks: Memory) -> None:
    with capture_tasks() as tasks, pytest.raises(ZeroDivisionError):
        _ = 1 / 0
    sample.note.enqueue("x")
    assert len(tasks) == 0


def test_one_memory_inside_another(vtasks: Memory) -> None:
    sample.note.enqueue("outer")
    with memory_tasks():
        refute_enqueued()
        sample.note.enqueue("inner")
    with immediate_tasks():
        sample.anote.enqueue("at once")
    assert [result.args for result in enqueued()] == [["outer"]]


class InTestCase(TestCase):
    """A capture sees through the test's transaction, and honours those inside it."""

    def test_rolled_back(self) -> None:
        with capture_tasks() as tasks:
            sample.note.enqueue("kept")
            with transaction.atomic():
                sample.note.enqueue("committed")
            with self.assertRaises(ZeroDivisionError), transaction.atomic():
                with transaction.atomic():
                    sample.note.enqueue("rolled back")
                self.assertEqual(len(tasks), 3)
                raise ZeroDivisionError
            sample.note.enqueue("after")
            self.assertEqual([r.args for r in tasks], [["kept"], ["committed"], ["after"]])
            refute_enqueued(sample.note, args=["rolled back"])

    async def test_in_a_coroutine(self) -> None:
        with capture_tasks():
            await sample.note.aenqueue("x")
            assert_enqueued(sample.note, args=["x"], count=1)
