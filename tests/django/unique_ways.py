"""Every way to enqueue one call of a unique task."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.tasks import task_backends

from tests.django import sample
from tests.django.helpers import AnyResult
from vtasks_asgi import UniqueTask
from vtasks_asgi.backends.base import Item, VTasksBackend

note: UniqueTask[[Any], None] = sample.note.using(unique=True)


def many(items: Sequence[Item]) -> list[AnyResult | None]:
    backend = task_backends["default"]
    assert isinstance(backend, VTasksBackend)
    return backend.enqueue_many(items)


def amany(items: Sequence[Item]) -> list[AnyResult | None]:
    backend = task_backends["default"]
    assert isinstance(backend, VTasksBackend)
    return async_to_sync(backend.aenqueue_many)(items)


type Way = Callable[[Any, Any], AnyResult | None]

WAYS: dict[str, Way] = {
    "enqueue": lambda task, value: task.enqueue(value),
    "aenqueue": lambda task, value: async_to_sync(task.aenqueue)(value),
    "many": lambda task, value: many([(task, [value], {})])[0],
    "amany": lambda task, value: amany([(task, [value], {})])[0],
}
EACH_WAY = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
