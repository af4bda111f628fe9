"""Waiting for a commit where there is more than one database, and in Django's own test class."""

from collections.abc import Iterator

import pytest
from django.db import connections, transaction
from django.tasks.exceptions import TaskResultDoesNotExist
from django.test import TestCase, override_settings

from tests.django import memory_backend, sample
from tests.django.conftest import Change
from tests.django.memory_backend import TASKS, backend, bodies, fresh
from tests.settings import TEST_DIR
from vtasks_asgi.backends.database import DatabaseTaskBackend
from vtasks_asgi.store.memory import MemoryStore


@pytest.fixture
def memory(change: Change, monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """What the backend's stores share."""
    change(TASKS=TASKS)
    return fresh(monkeypatch)


@pytest.fixture
def second() -> Iterator[str]:
    """The alias of another database."""
    name = str(TEST_DIR / "second.sqlite3")
    connections.settings["second"] = connections["default"].settings_dict | {"NAME": name}
    yield "second"
    connections["second"].close()
    del connections["second"]
    del connections.settings["second"]


@pytest.mark.parametrize("fails", ["neither", "default", "second"])
@pytest.mark.parametrize("outer", ["default", "second"])
def test_every_open_transaction_has_to_commit(
    outer: str, fails: str, second: str, memory: MemoryStore
) -> None:
    inner = {"default": "second", "second": "default"}[outer]
    try:
        with transaction.atomic(using=outer):
            try:
                with transaction.atomic(using=inner):
                    sample.note.enqueue("x")
                    if fails == inner:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                pass
            assert bodies(memory) == []
            if fails == outer:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert bodies(memory) == (["x"] if fails == "neither" else [])


def test_a_database_store_joins_its_own_and_waits_for_others(second: str, change: Change) -> None:
    change(TASKS={"default": {"BACKEND": "vtasks_asgi.backends.database.DatabaseTaskBackend"}})
    assert isinstance(backend(), DatabaseTaskBackend)
    count = "SELECT count(*) FROM vtasks_message"

    def messages() -> int:
        with connections["default"].cursor() as cursor:
            return int(cursor.execute(count).fetchone()[0])

    with pytest.raises(ZeroDivisionError), transaction.atomic(using="second"):
        sample.note.enqueue("x")
        raise ZeroDivisionError
    assert messages() == 0
    with transaction.atomic(using="second"):
        sample.note.enqueue("x")
        assert messages() == 0
    assert messages() == 1
    with transaction.atomic(using="second"), transaction.atomic():
        sample.note.using(on_commit=True).enqueue("x")
        assert messages() == 2, "part of the transaction, whatever on_commit says"
    with transaction.atomic(using="second"):
        sample.note.using(on_commit=False).enqueue("x")
        assert messages() == 3


@override_settings(TASKS=TASKS)
class InATestCase(TestCase):
    """Django's own test class wraps each test in a transaction."""

    def setUp(self) -> None:
        memory_backend.MemoryBackend.memory = MemoryStore()

    def test_enqueueing_waits_until_the_test_says_so(self) -> None:
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            result = sample.add.enqueue(1)
            with self.assertRaises(TaskResultDoesNotExist):
                result.refresh()
        self.assertEqual(len(callbacks), 1)
        result.refresh()

    async def test_aenqueue_too(self) -> None:
        result = await sample.aadd.aenqueue(1)
        with self.assertRaises(TaskResultDoesNotExist):
            await result.arefresh()
