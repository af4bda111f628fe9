"""Unique tasks on a database: the lock is a part of the caller's transaction, and no more."""

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.db import transaction
from django.tasks import task_backends

from tests.django import sample
from tests.django.conftest import EACH_DATABASE
from tests.django.helpers import AnyResult, rows
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.db.models import UniqueKey

pytestmark = EACH_DATABASE

UNIQUE = sample.note.using(unique=True)


def in_bulk(value: Any) -> AnyResult | None:
    backend = task_backends["default"]
    assert isinstance(backend, VTasksBackend)
    one, two = backend.enqueue_many([(UNIQUE, [value], {}), (UNIQUE, [value], {})])
    assert two is None
    return one


type Way = Callable[[Any], AnyResult | None]
WAYS: dict[str, Way] = {
    "enqueue": UNIQUE.enqueue,
    "aenqueue": async_to_sync(UNIQUE.aenqueue),
    "bulk": in_bulk,
}
EACH_WAY = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@EACH_WAY
def test_a_rollback_takes_message_and_lock_back(way: Way) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        assert way("x")
        assert UNIQUE.enqueue("x") is None
        raise ZeroDivisionError
    assert (rows()["messages"], UniqueKey.objects.count()) == (0, 0)
    assert way("x")


@EACH_WAY
def test_a_savepoint_takes_back_its_own(way: Way) -> None:
    with transaction.atomic():
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                assert way("x")
                raise ZeroDivisionError
        assert way("x")
    assert UNIQUE.enqueue("x") is None
    assert (rows()["messages"], UniqueKey.objects.count()) == (1, 1)


@EACH_WAY
def test_a_savepoint_around_a_duplicate_leaves_the_holder_alone(way: Way) -> None:
    with transaction.atomic():
        assert way("x")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            assert UNIQUE.enqueue("x") is None
            raise ZeroDivisionError
        assert UNIQUE.enqueue("x") is None
    assert rows()["messages"] == 1


def test_a_duplicate_leaves_the_callers_transaction_usable() -> None:
    assert UNIQUE.enqueue("x")
    with transaction.atomic():
        Group.objects.create(name="before")
        assert UNIQUE.enqueue("x") is None
        existing = UNIQUE.using(on_duplicate="existing").enqueue("x")
        assert existing is not None
        assert UNIQUE.enqueue("y")
        Group.objects.create(name="after")
    assert Group.objects.count() == 2
    assert rows()["messages"] == 2


def test_the_holder_may_be_of_the_same_transaction() -> None:
    with transaction.atomic():
        first = UNIQUE.enqueue("x")
        existing = UNIQUE.using(on_duplicate="existing").enqueue("x")
    assert first is not None
    assert existing is not None
    assert existing.id == first.id
