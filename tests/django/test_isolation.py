"""Threads, connections and contexts: no task finds what another left behind."""

import sqlite3
import threading

import pytest
from django.contrib.auth.models import Group
from django.db import connections

from tests.django import sample
from tests.django.conftest import Change
from tests.django.helpers import (
    NO_ROWS,
    SYNC_AND_ASYNC,
    refreshed,
    rows,
    run,
    working,
)
from vtasks_asgi.db.models import Message


def names() -> set[str]:
    return set(Group.objects.values_list("name", flat=True))


def test_sync_tasks_run_side_by_side_in_threads_of_their_own() -> None:
    results = [sample.meet.enqueue(), sample.meet.enqueue()]
    run(2)
    assert sorted(result.return_value for result in refreshed(*results)) == [0, 1]


def test_threads_are_reused() -> None:
    results = [sample.thread_name.enqueue() for _ in range(5)]
    run(5, concurrency=1)
    assert len({result.return_value for result in refreshed(*results)}) == 1


def test_an_async_task_has_a_thread_and_a_connection_of_its_own_for_the_orm() -> None:
    results = [sample.athread_names.enqueue() for _ in range(2)]
    run(2, concurrency=1)
    for result in refreshed(*results):
        loop, first, second = result.return_value
        assert loop == "test-worker"
        assert first == second, "one thread, and within a task one connection"
        assert first[0].startswith("vtasks-lane")
    assert len({result.return_value[1][0] for result in results}) == 1, "threads are reused"


def lane_threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith(("vtasks-lane", "vtasks-crew"))}


def test_a_task_that_needs_no_thread_makes_none() -> None:
    before = lane_threads()
    with working() as worker:
        for number in range(5):
            sample.anote.enqueue(number)
        worker.ear.wait(5)
        assert lane_threads() <= before


def test_threads_end_with_the_worker() -> None:
    sample.writes.enqueue("a")
    sample.awrites.enqueue("b")
    with working() as worker:
        worker.ear.wait(2)
        threads = lane_threads()
    assert threads
    for thread in threads:
        thread.join(20.0)
        assert not thread.is_alive()


def test_so_do_their_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", None)
    sample.note_connection.enqueue()
    with working() as worker:
        worker.ear.wait(1)
        threads = lane_threads()
        [raw] = sample.SEEN
        raw.execute("SELECT 1")
    for thread in threads:
        thread.join(20.0)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        raw.execute("SELECT 1")


def test_a_thread_that_is_still_busy_ends_with_its_task(change: Change) -> None:
    sample.waits_in_thread.enqueue()
    change(VTASKS_DRAIN_TIMEOUT=0)
    before = lane_threads()  # of earlier tests' workers, about to end
    with working():
        assert sample.MEETING.arrived.acquire(timeout=20.0)
        [busy] = lane_threads() - before
    assert busy.is_alive()
    assert Message.objects.get().state == Message.State.READY, "given back all the same"
    sample.MEETING.go.set()
    busy.join(20.0)
    assert not busy.is_alive()
    assert rows() == NO_ROWS | {"messages": 1}, "its late outcome counts for nothing"


@pytest.mark.parametrize(
    "dirty",
    ["leaves_atomic_open", "aleaves_atomic_open", "raises_in_atomic", "leaves_autocommit_off"],
)
@SYNC_AND_ASYNC
def test_the_next_task_finds_a_clean_connection(kind: str, dirty: str) -> None:
    getattr(sample, dirty).enqueue("dirty")
    clean = getattr(sample, f"{kind}writes").enqueue("clean")
    run(2, concurrency=1)
    clean.refresh()
    assert clean.return_value == [False, True, False]
    assert names() == {"clean"}, "what was never committed is rolled back"


@SYNC_AND_ASYNC
def test_contexts_do_not_leak_from_task_to_task(kind: str) -> None:
    task = getattr(sample, f"{kind}leaves_context")
    results = [task.enqueue(name) for name in "abc"]
    run(3, concurrency=1)
    assert [result.return_value for result in refreshed(*results)] == ["clean"] * 3
