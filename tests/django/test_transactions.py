"""An enqueue belongs to the transaction it is made in, whoever makes it and however."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.db import connection, connections, transaction
from django.tasks import task_backends
from django.test import TestCase

from tests.django import sample
from tests.django.conftest import EACH_DATABASE
from tests.django.helpers import Ear, arows, embedded, rows, working
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.exceptions import StoreUnavailable
from vtasks_asgi.runtime.active import current
from vtasks_asgi.store.doorbell import Doorbell

pytestmark = EACH_DATABASE


def enqueue(value: object) -> None:
    sample.note.enqueue(value)


def enqueue_through_async(value: object) -> None:
    async_to_sync(sample.note.aenqueue)(value)


def enqueue_two(value: object) -> None:
    backend = task_backends["default"]
    assert isinstance(backend, VTasksBackend)
    backend.enqueue_many([(sample.note, [value], {}), (sample.note, [value], {})])


WAYS = pytest.mark.parametrize("way", [enqueue, enqueue_through_async, enqueue_two])


def seen_elsewhere() -> int:
    """How many messages another connection sees."""

    def look() -> int:
        try:
            return rows()["messages"]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(look).result()


@WAYS
def test_a_commit_makes_it_real(way: Callable[[object], None]) -> None:
    with transaction.atomic():
        way("x")
        assert rows()["messages"] > 0
        assert seen_elsewhere() == 0
    assert seen_elsewhere() == rows()["messages"] > 0


@WAYS
def test_a_rollback_takes_it_back(way: Callable[[object], None]) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Group.objects.create(name="x")
        way("x")
        raise ZeroDivisionError
    assert rows()["messages"] == 0


@WAYS
def test_a_savepoint_takes_back_its_own(way: Callable[[object], None]) -> None:
    with transaction.atomic():
        way("kept")
        kept = rows()["messages"]
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            way("taken back")
            assert rows()["messages"] == 2 * kept
            raise ZeroDivisionError
        way("kept")
    assert rows()["messages"] == 2 * kept


def test_an_error_in_it_leaves_the_callers_transaction_usable() -> None:
    with transaction.atomic():
        sample.note.enqueue("before")
        with pytest.raises(TypeError):
            sample.note.enqueue(b"bytes")
        sample.note.enqueue("after")
    assert rows()["messages"] == 2


def test_a_database_error_in_it_leaves_the_callers_transaction_usable() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE vtasks_message RENAME TO elsewhere")
    try:
        with transaction.atomic():
            Group.objects.create(name="before")
            with pytest.raises(StoreUnavailable):
                sample.note.enqueue("x")
            Group.objects.create(name="after")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO vtasks_message")
    assert Group.objects.count() == 2


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every ring of a doorbell."""
    heard: list[int] = []
    original = Doorbell.ring

    def ring(self: Doorbell, *args: Any) -> None:
        heard.append(1)
        original(self, *args)

    monkeypatch.setattr(Doorbell, "ring", ring)
    return heard


def test_the_doorbell_rings_after_the_commit(rings: list[int]) -> None:
    with transaction.atomic():
        sample.note.enqueue("x")
        assert not rings
    assert len(rings) == 1


def test_and_never_after_a_rollback(rings: list[int]) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        sample.note.enqueue("x")
        raise ZeroDivisionError
    assert not rings


class InATestCase(TestCase):
    """Django's own test class wraps each test in a transaction."""

    def test_enqueueing_works_and_is_forgotten(self) -> None:
        with self.captureOnCommitCallbacks() as callbacks:
            result = sample.add.enqueue(1)
        self.assertEqual(rows()["messages"], 1)
        self.assertEqual(sample.add.get_result(result.id), result)
        self.assertEqual(len(callbacks), 1)

    def test_nothing_is_left_of_another_test(self) -> None:
        self.assertEqual(rows()["messages"], 0)
        sample.add.enqueue(1)

    async def test_so_does_aenqueue(self) -> None:
        result = await sample.aadd.aenqueue(1)
        self.assertEqual((await arows())["messages"], 1)
        self.assertEqual(await sample.aadd.aget_result(result.id), result)


# -- with a worker in the same process, as requests find it


def in_request[T](context: contextvars.Context, call: Callable[[], T]) -> T:
    """Call it as a sync view is called: in a thread, in the request's context."""

    def work() -> T:
        try:
            return context.run(call)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


@pytest.fixture
def beside() -> Iterator[tuple[Ear, contextvars.Context]]:
    """A request's context, its runtime living in another thread's loop."""
    with working() as worker:
        worker.ear.wait_open()
        context = contextvars.copy_context()
        context.run(current.set, worker.runtime)
        yield worker.ear, context


def test_a_request_enqueues_through_the_runtimes_store(
    beside: tuple[Ear, contextvars.Context],
) -> None:
    ear, context = beside
    in_request(context, lambda: sample.note.enqueue("x"))
    in_request(context, lambda: async_to_sync(sample.note.aenqueue)("y"))
    ear.wait(2)
    assert sample.SEEN == ["x", "y"]


@WAYS
def test_in_a_transaction_it_still_belongs_to_that(
    way: Callable[[object], None], beside: tuple[Ear, contextvars.Context]
) -> None:
    def rolled_back() -> None:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            way("rolled back")
            raise ZeroDivisionError

    def committed() -> None:
        with transaction.atomic():
            way("committed")
            assert seen_elsewhere() == 0

    ear, context = beside
    in_request(context, rolled_back)
    in_request(context, committed)
    ear.wait(2 if way is enqueue_two else 1)
    assert set(sample.SEEN) == {"committed"}


async def test_an_async_request_enqueues_on_the_loop_and_looks_there() -> None:
    async with embedded(concurrency=1) as runtime:
        results = await asyncio.gather(*(sample.aadd.aenqueue(n, 1) for n in range(50)))
        assert len({result.id for result in results}) == 50
        assert (await sample.aadd.aget_result(results[0].id)).args == [0, 1]
        assert runtime.is_mine()
    assert (await arows())["messages"] + (await arows())["results"] == 50


async def test_a_sync_enqueue_on_the_loop_is_taken_too() -> None:
    async with embedded():
        result = sample.aadd.enqueue(1)
    await result.arefresh()
    assert (await arows())["messages"] + (await arows())["results"] == 1


async def test_sync_code_of_an_async_request_keeps_its_transaction() -> None:
    def work() -> None:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            enqueue("x")
            enqueue_through_async("y")
            assert rows()["messages"] == 2
            raise ZeroDivisionError

    async with embedded():
        await sync_to_async(work)()
    assert (await arows())["messages"] == 0


async def test_another_loop_than_the_runtimes_may_enqueue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a library does that runs a loop of its own in a thread."""
    pushed: list[object] = []

    async def other() -> str:
        return (await sample.aadd.aenqueue(1)).id

    def run_loop() -> str:
        try:
            return asyncio.run(other())
        finally:
            connections.close_all()

    async with embedded() as runtime:
        monkeypatch.setattr(runtime.store, "push", pushed.append)
        context = contextvars.copy_context()
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(context.run(run_loop)))
        thread.start()
        await asyncio.get_running_loop().run_in_executor(None, thread.join)
    assert (await sample.aadd.aget_result(found[0])).args == [1]
    assert pushed == [], "the runtime's store belongs to its own loop"


async def test_cancelling_one_caller_harms_no_other() -> None:
    async with embedded():
        callers = [asyncio.create_task(sample.aadd.aenqueue(n)) for n in range(10)]
        await asyncio.sleep(0)
        callers[3].cancel()
        results = await asyncio.gather(*callers, return_exceptions=True)
    failed = [r for r in results if isinstance(r, BaseException)]
    assert [type(error) for error in failed] == [asyncio.CancelledError]


def test_a_cancellation_of_the_store_joins_too() -> None:
    """A backend waits for the commit instead, see ``test_cancel``."""
    backend = task_backends["default"]
    assert isinstance(backend, VTasksBackend)
    result = sample.note.enqueue("x")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        backend.store.cancel_sync([result.id])
        assert rows()["dead"] == 1
        raise ZeroDivisionError
    assert rows()["dead"] == 0
    with transaction.atomic():
        result = sample.note.enqueue("y")
        backend.store.cancel_sync([result.id])
    assert rows() == {"messages": 1, "results": 0, "dead": 1}
