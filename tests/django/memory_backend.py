"""A backend whose store knows nothing of transactions, as one that is no database does."""

from typing import Any, ClassVar

import pytest
from django.tasks import task_backends

from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.store.memory import MemoryStore

TASKS = {"default": {"BACKEND": f"{__name__}.MemoryBackend"}}


class MemoryBackend(VTasksBackend):
    """All of its stores are twins of ``memory``, which a test makes anew."""

    memory: ClassVar[MemoryStore] = MemoryStore()

    def make_store(self) -> MemoryStore:
        store = self.memory.twin()
        store._opened = True  # what nobody opens is this process's own
        return store


def fresh(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """An empty memory for this test."""
    memory = MemoryStore()
    monkeypatch.setattr(MemoryBackend, "memory", memory)
    return memory


def backend() -> VTasksBackend:
    found = task_backends["default"]
    assert isinstance(found, VTasksBackend)
    return found


def bodies(memory: MemoryStore) -> list[Any]:
    """The first argument of each message there is, in the order of their pushes."""
    entries = sorted(memory._entries.values(), key=lambda entry: entry.seq)
    return [backend().get_result(entry.record.id).args[0] for entry in entries]
