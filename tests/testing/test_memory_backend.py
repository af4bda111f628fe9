"""The memory backend: a queue of this process that keeps to Django's transactions."""

from collections.abc import Callable

import pytest
from django.db import connection, transaction
from django.tasks import TaskResultStatus, task_backends

from tests.django import sample
from tests.django.conftest import Change
from tests.django.helpers import run
from vtasks_asgi.backends.memory import MemoryTaskBackend
from vtasks_asgi.core.clock import TravelClock
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.testing import enqueued
from vtasks_asgi.transactions import decided, fate_in

MEMORY = {"default": {"BACKEND": "vtasks_asgi.backends.memory.MemoryTaskBackend"}}

type Memory = MemoryTaskBackend


@pytest.fixture(autouse=True)
def memory(change: Change) -> Memory:
    change(TASKS=MEMORY)
    found = task_backends["default"]
    assert isinstance(found, MemoryTaskBackend)
    return found


def waiting() -> list[object]:
    return [result.args[0] for result in enqueued()]


def test_a_worker_of_this_process_consumes_it() -> None:
    result = sample.add.enqueue(1, 2)
    run(1)
    result.refresh()
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, 3)


def test_a_change_of_tasks_begins_with_nothing(change: Change) -> None:
    sample.note.enqueue("x")
    change(TASKS=dict(MEMORY))
    assert waiting() == []


def test_a_commit_keeps() -> None:
    with transaction.atomic():
        sample.note.enqueue(1)
        with transaction.atomic():
            sample.note.enqueue(2)
        assert waiting() == [1, 2]
    assert waiting() == [1, 2]


def test_a_rollback_takes_back() -> None:
    sample.note.enqueue(0)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        sample.note.enqueue(1)
        with transaction.atomic():
            sample.note.enqueue(2)
        raise ZeroDivisionError
    assert waiting() == [0]


def test_a_savepoint_takes_back_its_own() -> None:
    with transaction.atomic():
        sample.note.enqueue(1)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            sample.note.enqueue(2)
            with transaction.atomic(savepoint=False):
                sample.note.enqueue(3)
            raise ZeroDivisionError
        sample.note.enqueue(4)
        assert waiting() == [1, 4]
    assert waiting() == [1, 4]


def test_a_hook_that_comes_before_ours_finds_all_there() -> None:
    found: list[list[object]] = []
    with transaction.atomic():
        transaction.on_commit(lambda: found.append(waiting()))
        sample.note.enqueue(1)
    assert (found, waiting()) == ([[1]], [1])


def test_a_hook_may_enqueue() -> None:
    with transaction.atomic():
        transaction.on_commit(lambda: enqueue(2))
        sample.note.enqueue(1)
    assert waiting() == [1, 2]


def enqueue(value: object) -> None:
    sample.note.enqueue(value)


def test_only_the_database_named_counts(change: Change) -> None:
    change(TASKS={"default": MEMORY["default"] | {"OPTIONS": {"DATABASE": "elsewhere"}}})
    backend = task_backends["default"]
    assert isinstance(backend, MemoryTaskBackend)
    assert backend.database == "elsewhere"


def test_a_key_is_given_back_with_its_message(memory: Memory) -> None:
    def push() -> str | None:
        message = Message(new_id(), "default", b"", unique="key", keep_unique=60.0)
        return memory.store.push_sync([message])[0].holder

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        assert push() is None
        assert push() is not None
        raise ZeroDivisionError
    assert push() is None
    assert push() is not None


def test_many_enqueues_of_one_savepoint_share_a_hook() -> None:
    with transaction.atomic():
        before = len(connection.run_on_commit)
        for value in range(100):
            sample.note.enqueue(value)
        assert len(connection.run_on_commit) == before + 1


# -- fates


def test_outside_a_transaction_there_is_no_fate() -> None:
    assert fate_in("default") is None


@pytest.mark.parametrize("end", [transaction.rollback, transaction.commit])
def test_a_transaction_by_hand_has_none_either(end: Callable[[], None]) -> None:
    transaction.set_autocommit(False)
    try:
        sample.note.enqueue(1)
    finally:
        end()
        transaction.set_autocommit(True)
    assert waiting() == [1]


def test_a_fate_is_decided_when_it_is() -> None:
    with transaction.atomic():
        fate = fate_in("default")
        assert fate
        assert decided([fate]) == {}
    assert decided([fate]) == {fate: True}
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        other = fate_in("default")
        assert other
        assert fate_in("default", [other]) is other
        raise ZeroDivisionError
    assert other
    assert decided([other]) == {other: False}


def test_a_closed_connection_has_kept_nothing() -> None:
    with transaction.atomic():
        sample.note.enqueue(1)
        connection.close()
    assert waiting() == []


# -- the clock


def test_the_clock_goes_on_and_skips() -> None:
    clock = TravelClock()
    before, monotonic = clock.now(), clock.monotonic()
    clock.advance(60.0)
    clock.advance(-60.0)
    assert 60.0 <= clock.now() - before < 70.0
    assert 60.0 <= clock.monotonic() - monotonic < 70.0


def test_the_clock_stands_still_but_for_what_is_skipped() -> None:
    clock = TravelClock()
    with clock.stopped():
        now = clock.now()
        with clock.stopped():
            clock.advance(1.0)
        assert (clock.now(), clock.now()) == (now + 1.0, now + 1.0)
    assert clock.now() >= now + 1.0
