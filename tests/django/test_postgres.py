"""PostgreSQL as the database of a project: its options, its app's other name, Django's TestCase."""

from importlib import util
from typing import Any

import pytest
from django.apps import AppConfig
from django.core.checks import run_checks
from django.db import connection
from django.test import TestCase, override_settings

from tests.django import sample
from tests.django.conftest import Change
from vtasks_asgi.assembly import find_backend
from vtasks_asgi.core.message import Message as StoredMessage
from vtasks_asgi.core.message import new_id
from vtasks_asgi.db.models import Message
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.store.base import Receipt
from vtasks_asgi.store.database.postgres.store import PostgresStore
from vtasks_asgi.store.database.sqlite.store import SQLiteStore

BACKEND = "vtasks_asgi.backends.database.DatabaseTaskBackend"


def tasks(**options: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": BACKEND, "OPTIONS": options}}


def test_the_engine_follows_the_alias(postgres_database: str, change: Change) -> None:
    for alias, engine in ((postgres_database, PostgresStore), ("default", SQLiteStore)):
        change(TASKS=tasks(DATABASE=alias))
        assert type(find_backend("default").make_store()) is engine


@pytest.mark.parametrize("size", [0, -1, "4", True, None])
def test_a_wrong_pool_size_is_named(change: Change, size: Any) -> None:
    change(TASKS=tasks(POOL_SIZE=size))
    with pytest.raises(ConfigurationError, match=r"\['POOL_SIZE'\] must be a number of at least 1"):
        find_backend("default")


def test_e004_without_the_driver(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    find = util.find_spec
    monkeypatch.setattr(connection, "vendor", "postgresql")
    monkeypatch.setattr(
        "vtasks_asgi.backends.database.find_spec",
        lambda name: None if name == "psycopg_pool" else find(name),
    )
    [message] = [each for each in run_checks() if each.id == "vtasks_asgi.E004"]
    assert "psycopg 3 and its pool" in str(message.msg)
    assert "vtasks-asgi[postgres]" in str(message.hint)


def test_the_app_has_the_ancestors_name_too() -> None:
    config = AppConfig.create("vtasks_asgi.postgres")
    assert (config.name, config.label) == ("vtasks_asgi.db", "vtasks")


@pytest.mark.usefixtures("postgres_database")
@override_settings(TASKS=tasks(DATABASE="postgres"))
class InATestCase(TestCase):
    """Django's own test class wraps each test in a transaction."""

    databases = {"postgres"}  # noqa: RUF012 - as Django wants it

    def stored(self) -> int:
        return Message.objects.using("postgres").count()

    def test_enqueueing_works_and_is_forgotten(self) -> None:
        result = sample.add.enqueue(1)
        self.assertEqual(self.stored(), 1)
        self.assertEqual(sample.add.get_result(result.id), result)

    def test_nothing_is_left_of_another_test(self) -> None:
        self.assertEqual(self.stored(), 0)
        sample.add.enqueue(1)

    async def test_so_does_aenqueue(self) -> None:
        result = await sample.aadd.aenqueue(1)
        self.assertEqual(await Message.objects.using("postgres").acount(), 1)
        self.assertEqual(await sample.aadd.aget_result(result.id), result)

    def test_duplicates_and_bulk_leave_the_transaction_usable(self) -> None:
        store = find_backend("default").store
        first, second = (StoredMessage(new_id(), "default", b"", unique="key") for _ in range(2))
        plain = StoredMessage(new_id(), "default", b"")
        receipts = store.push_sync([first, plain, second, plain])
        self.assertEqual(
            receipts,
            [
                Receipt(first.id),
                Receipt(plain.id),
                Receipt(second.id, False, first.id),
                Receipt(plain.id, False),
            ],
        )
        self.assertEqual(self.stored(), 2)
