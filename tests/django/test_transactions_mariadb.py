"""An enqueue belongs to the transaction it is made in, on MariaDB as on SQLite."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connections, transaction
from django.tasks import task_backends
from django.test import TestCase, override_settings

from tests.database import empty_tables
from tests.django import sample
from tests.django.conftest import Change
from tests.django.helpers import PATIENCE, done, embedded, run
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.core.message import Message as StoredMessage
from vtasks_asgi.core.message import new_id
from vtasks_asgi.db.models import Message, Tick
from vtasks_asgi.exceptions import StoreUnavailable
from vtasks_asgi.store.base import Receipt

ALIAS = "mariadb"
TASKS = {
    "default": {
        "BACKEND": "vtasks_asgi.backends.database.DatabaseTaskBackend",
        "OPTIONS": {"DATABASE": ALIAS},
    }
}


@pytest.fixture(autouse=True)
def on_mariadb(
    request: pytest.FixtureRequest, mariadb_database: str, change: Change
) -> Iterator[None]:
    """Every task goes there; Django's own test classes see to it themselves."""
    if request.cls is not None:
        yield
        return
    empty_tables(ALIAS)
    change(TASKS=TASKS)
    yield
    connections[ALIAS].close()


def backend() -> VTasksBackend:
    found = task_backends["default"]
    assert isinstance(found, VTasksBackend)
    return found


def enqueue(value: object) -> None:
    sample.note.enqueue(value)


def enqueue_through_async(value: object) -> None:
    async_to_sync(sample.note.aenqueue)(value)


def enqueue_two(value: object) -> None:
    backend().enqueue_many([(sample.note, [value], {}), (sample.note, [value], {})])


WAYS = pytest.mark.parametrize("way", [enqueue, enqueue_through_async, enqueue_two])


def stored() -> int:
    return Message.objects.using(ALIAS).count()


def elsewhere[T](work: Callable[[], T]) -> T:
    """Done by another thread, on a connection of its own."""

    def call() -> T:
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result(30)


@WAYS
def test_a_commit_makes_it_real(way: Callable[[object], None]) -> None:
    with transaction.atomic(using=ALIAS):
        way("x")
        assert stored() > 0
        assert elsewhere(stored) == 0
    assert elsewhere(stored) == stored() > 0


@WAYS
def test_a_rollback_takes_it_back(way: Callable[[object], None]) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=ALIAS):
        Tick.objects.using(ALIAS).create(schedule="callers", at=1.0)
        way("x")
        raise ZeroDivisionError
    assert stored() == Tick.objects.using(ALIAS).count() == 0


@WAYS
def test_a_savepoint_takes_back_its_own(way: Callable[[object], None]) -> None:
    with transaction.atomic(using=ALIAS):
        way("kept")
        kept = stored()
        with pytest.raises(ZeroDivisionError), transaction.atomic(using=ALIAS):
            way("taken back")
            assert stored() == 2 * kept
            raise ZeroDivisionError
        way("kept")
    assert stored() == 2 * kept


def keyed(key: str = "key") -> StoredMessage:
    return StoredMessage(new_id(), "default", b"body", unique=key)


def test_a_duplicate_leaves_the_callers_transaction_as_it_was() -> None:
    store = backend().store
    first, second, again = keyed(), keyed(), keyed("other")
    store.push_sync([first])
    with transaction.atomic(using=ALIAS):
        Tick.objects.using(ALIAS).create(schedule="before", at=1.0)
        assert store.push_sync([second]) == [Receipt(second.id, False, first.id)]
        assert store.push_sync([first]) == [Receipt(first.id, False)]
        plain = StoredMessage(new_id(), "default", b"plain")
        assert store.push_sync([plain, plain]) == [Receipt(plain.id), Receipt(plain.id, False)]
        assert store.push_sync([again]) == [Receipt(again.id)]
        Tick.objects.using(ALIAS).create(schedule="after", at=1.0)
    assert (stored(), Tick.objects.using(ALIAS).count()) == (3, 2)


def test_a_key_taken_in_a_transaction_is_free_again_after_a_rollback() -> None:
    store = backend().store
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=ALIAS):
        assert store.push_sync([keyed()])[0].stored
        assert not store.push_sync([keyed()])[0].stored
        raise ZeroDivisionError
    assert store.push_sync([keyed()])[0].stored


def test_an_error_in_it_leaves_the_callers_transaction_usable() -> None:
    with transaction.atomic(using=ALIAS):
        sample.note.enqueue("before")
        with pytest.raises(TypeError):
            sample.note.enqueue(b"bytes")
        too_long = StoredMessage(new_id(), "q" * 101, b"")
        with pytest.raises(Exception, match="too long"):
            backend().store.push_sync([too_long])
        sample.note.enqueue("after")
    assert stored() == 2


def test_a_deadlock_ends_the_callers_transaction_as_a_whole() -> None:
    """The server has rolled it all back: nothing of it may be committed by going on."""
    connection: Any = connections[ALIAS]
    backend().store.push_sync([keyed()])
    free("default", "key")
    Tick.objects.using(ALIAS).create(schedule="row", at=1.0)
    with (
        closing(connection.Database.connect(**connection.get_connection_params())) as heavier,
        ThreadPoolExecutor(1) as thread,
    ):
        cursor = heavier.cursor()
        cursor.execute("BEGIN")
        cursor.execute(
            "INSERT INTO vtasks_tick (schedule, at)"
            " SELECT CONCAT('heavy', seq), 0 FROM seq_1_to_1000"
        )
        cursor.execute("SELECT * FROM vtasks_uniquekey FOR UPDATE")
        with pytest.raises(StoreUnavailable), transaction.atomic(using=ALIAS):
            Tick.objects.using(ALIAS).filter(schedule="row").update(at=2.0)
            lock = "SELECT * FROM vtasks_tick WHERE schedule = 'row' FOR UPDATE"
            waiting = thread.submit(cursor.execute, lock)
            try:
                backend().store.push_sync([keyed()])
            except StoreUnavailable:
                with pytest.raises(transaction.TransactionManagementError):
                    Tick.objects.using(ALIAS).count()
                raise
        waiting.result(30)
        heavier.rollback()
    assert Tick.objects.using(ALIAS).get(schedule="row").at == 1.0


def free(queue: str, key: str) -> None:
    """End the message that holds this key, as a purge would."""
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("DELETE FROM vtasks_message WHERE unique_key = %s", [key])


def test_a_task_runs_there_and_its_result_is_kept() -> None:
    result = done(sample.add.enqueue(1, b=2))
    assert result.return_value == 3
    assert stored() == 0


def test_an_asynchronous_task_too() -> None:
    assert done(sample.aadd.enqueue(1, b=2)).return_value == 3


def test_a_thousand_in_one_call() -> None:
    results = backend().enqueue_many([(sample.add, [n], {"b": 0}) for n in range(1000)])
    run(1000)
    sampled = [each for each in results[::100] if each is not None]
    assert [sample.add.get_result(each.id).return_value for each in sampled] == [
        *range(0, 1000, 100)
    ]


async def test_a_request_enqueues_through_the_runtime() -> None:
    async with embedded() as runtime:
        result = await sample.aadd.aenqueue(1, b=2)
        async with asyncio.timeout(PATIENCE):
            while not (found := await sample.aadd.aget_result(result.id)).is_finished:
                await runtime.store.wait(["default"], 0.01)
    assert found.return_value == 3


@pytest.mark.usefixtures("mariadb_database")
@override_settings(TASKS=TASKS)
class InATestCase(TestCase):
    """Django's own test class wraps each test in a transaction."""

    databases = {ALIAS}  # noqa: RUF012 - as Django wants it

    def test_enqueueing_works_and_is_forgotten(self) -> None:
        result = sample.add.enqueue(1)
        self.assertEqual(stored(), 1)
        self.assertEqual(sample.add.get_result(result.id), result)

    def test_nothing_is_left_of_another_test(self) -> None:
        self.assertEqual(stored(), 0)
        sample.add.enqueue(1)
