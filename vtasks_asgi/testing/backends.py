"""The project's own ``TASKS``, with backends for tests in the place of its own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.tasks import task_backends
from django.test import override_settings

from vtasks_asgi.backends.immediate import ImmediateBackend
from vtasks_asgi.backends.memory import MemoryTaskBackend, memories
from vtasks_asgi.conf import options


@contextmanager
def memory_tasks() -> Iterator[MemoryTaskBackend]:
    """Let every alias of ``TASKS`` keep its messages in memory, which begins empty.

    Nothing runs until ``drain``. Gives the backend of ``VTASKS_BACKEND``; its ``clock`` may be
    advanced. Also a decorator of functions. ``QUEUES`` and common OPTIONS stay as they are.
    """
    with _replaced(MemoryTaskBackend) as backend:
        assert isinstance(backend, MemoryTaskBackend)
        yield backend


@contextmanager
def immediate_tasks() -> Iterator[ImmediateBackend]:
    """The same, but each task runs within its enqueue, batch queues apart."""
    with _replaced(ImmediateBackend) as backend:
        assert isinstance(backend, ImmediateBackend)
        yield backend


@contextmanager
def _replaced(kind: type[MemoryTaskBackend]) -> Iterator[object]:
    kept = dict(memories)  # a change of TASKS empties them, for it may have changed everything
    tasks = {alias: _params(kind, task_backends.settings[alias]) for alias in task_backends}
    try:
        with override_settings(TASKS=tasks):
            yield task_backends[options().backend]
    finally:
        memories.update(kept)


def _params(kind: type[MemoryTaskBackend], params: Mapping[str, Any]) -> dict[str, Any]:
    known = {
        name: value
        for name, value in params.get("OPTIONS", {}).items()
        if name in kind.option_names
    }
    changed = {"BACKEND": f"{kind.__module__}.{kind.__qualname__}", "OPTIONS": known}
    return {**params, **changed}
