"""Unique tasks in tests: the immediate backend and ``drain`` keep to keys as every store does."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from tests.django.conftest import Change
from vtasks_asgi import task
from vtasks_asgi.backends.immediate import ImmediateBackend
from vtasks_asgi.backends.memory import MemoryTaskBackend
from vtasks_asgi.testing import assert_enqueued, capture_tasks, drain

type Memory = MemoryTaskBackend

#: What the tasks got, in order.
SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


@task(unique=True)
def once(value: Any) -> None:
    SEEN.append(value)


@task(unique=True, max_attempts=1)
def breaks() -> None:
    raise ValueError


@task(unique=True, unique_key="itself", on_duplicate="existing")
def again(depth: int) -> list[str | None]:
    """Enqueues itself while it holds its key."""
    rejected = again.using(on_duplicate="reject").enqueue(depth + 1)
    holder = again.enqueue(depth + 1)
    SEEN.append(depth)
    assert holder
    return [rejected.id if rejected else None, holder.id, str(holder.status)]


@task(unique=True, unique_key="api", ttl=60, remove_unique_on_complete=False)
def throttled(value: Any) -> None:
    SEEN.append(value)


@task(unique=True)
def load(items: list[Any]) -> None:
    SEEN.append([item["kwargs"]["n"] for item in items])


@task(unique_key="search", debounce=5)
def index(value: Any) -> None:
    SEEN.append(value)


@task(unique_key="leading", debounce=5, debounce_edge="leading")
def first(value: Any) -> None:
    SEEN.append(value)


@task(unique_key="both", debounce=5, debounce_edge="both")
def edges(value: Any) -> None:
    SEEN.append(value)


# -- the immediate backend


def test_a_key_is_free_when_its_task_has_run(vtasks_immediate: ImmediateBackend) -> None:
    for value in (1, 1):
        assert once.enqueue(value)
    assert SEEN == [1, 1]


def test_a_key_is_free_when_its_task_has_failed(vtasks_immediate: ImmediateBackend) -> None:
    assert breaks.enqueue()
    assert breaks.enqueue()


def test_a_key_is_held_while_its_task_runs(vtasks_immediate: ImmediateBackend) -> None:
    result = again.enqueue(0)
    assert result
    assert result.return_value == [None, result.id, "RUNNING"]
    assert SEEN == [0]


def test_a_throttled_key_is_held_for_its_time(vtasks_immediate: ImmediateBackend) -> None:
    assert throttled.enqueue(1)
    assert throttled.enqueue(2) is None
    vtasks_immediate.clock.advance(61)
    assert throttled.enqueue(3)
    assert SEEN == [1, 3]


def test_duplicates_in_bulk(vtasks_immediate: ImmediateBackend) -> None:
    found = vtasks_immediate.enqueue_many([(once, [1], {}), (once, [1], {}), (once, [2], {})])
    assert [result is None for result in found] == [False, True, False]
    assert SEEN == [1, 2]


async def test_duplicates_from_a_coroutine(vtasks_immediate: ImmediateBackend) -> None:
    assert await throttled.aenqueue(1)
    assert await throttled.aenqueue(2) is None


def test_a_batch_holds_the_keys_of_what_it_gathers(
    vtasks_immediate: ImmediateBackend, change: Change
) -> None:
    change(VTASKS_BATCH_QUEUES={"b": {"count": 10, "timeout": 1.0}})
    gathered = load.using(queue_name="b")
    first = gathered.enqueue(n=1)  # type: ignore[call-arg]
    assert gathered.enqueue(n=1) is None  # type: ignore[call-arg]
    same = gathered.using(on_duplicate="existing").enqueue(n=1)  # type: ignore[call-arg]
    assert first
    assert same
    assert same.id == first.id
    vtasks_immediate.flush_batch("b")
    assert gathered.enqueue(n=1)  # type: ignore[call-arg]
    assert SEEN == [[1]]


def test_a_debounced_task_does_not_wait(vtasks_immediate: ImmediateBackend) -> None:
    index.enqueue("a")
    assert SEEN == ["a"]


def test_a_leading_edge_absorbs_for_its_time(vtasks_immediate: ImmediateBackend) -> None:
    assert first.enqueue(1)
    assert first.enqueue(2) is None
    vtasks_immediate.clock.advance(6)
    assert first.enqueue(3)
    assert SEEN == [1, 3]


def test_with_both_edges_none_waits(vtasks_immediate: ImmediateBackend) -> None:
    for value in (1, 2, 3):
        edges.enqueue(value)
    assert SEEN == [1, 2, 3]


def test_a_batch_shows_the_latest_of_what_is_debounced(
    vtasks_immediate: ImmediateBackend, change: Change
) -> None:
    change(VTASKS_BATCH_QUEUES={"b": {"count": 10, "timeout": 1.0}})
    for value in ("a", "b"):
        index.using(queue_name="b").enqueue(value)
    [item] = vtasks_immediate.pending_batches["b"]
    assert item["args"] == ["b"]


# -- drain


def test_a_key_is_held_until_it_is_drained(vtasks: Memory) -> None:
    assert once.enqueue(1)
    assert once.enqueue(1) is None
    assert once.enqueue(2)
    assert_enqueued(once, count=2)
    drain()
    assert SEEN == [1, 2]
    assert once.enqueue(1)


def test_a_throttled_key_is_held_until_time_has_passed(vtasks: Memory) -> None:
    assert throttled.enqueue(1)
    drain(advance=timedelta(seconds=50))
    assert throttled.enqueue(2) is None
    drain(advance=timedelta(seconds=10))
    assert throttled.enqueue(3)


def test_a_debounced_task_runs_with_its_latest_arguments(vtasks: Memory) -> None:
    index.enqueue("a")
    assert drain(advance=timedelta(seconds=3)) == []
    index.enqueue("b")
    assert drain(advance=timedelta(seconds=3)) == []
    drain(advance=timedelta(seconds=3))
    assert SEEN == ["b"]


def test_both_edges_run_the_first_and_the_latest(vtasks: Memory) -> None:
    edges.enqueue(1)
    drain()
    edges.enqueue(2)
    edges.enqueue(3)
    assert drain(advance=timedelta(seconds=3)) == []
    drain(advance=timedelta(seconds=3))
    edges.enqueue(4)
    drain()
    assert SEEN == [1, 3, 4]


def test_a_rollback_gives_the_key_back(vtasks: Memory) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        assert once.enqueue(1)
        raise ZeroDivisionError
    assert once.enqueue(1)


def test_duplicates_are_not_captured(vtasks: Memory) -> None:
    with capture_tasks():
        once.enqueue(1)
        once.enqueue(1)
        assert_enqueued(once, count=1)
