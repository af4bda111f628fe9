"""A backend's store, opened for a look or for work from a test."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from django.db import connections

from vtasks_asgi import lanes
from vtasks_asgi.assembly import find_backend, opened
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.backends.immediate import ImmediateBackend
from vtasks_asgi.backends.memory import MemoryTaskBackend
from vtasks_asgi.conf import options
from vtasks_asgi.exceptions import ConfigurationError, StoreError
from vtasks_asgi.store.base import FullStore

ADVICE = (
    "use vtasks_asgi.testing.memory_tasks(), or TASKS with"
    " 'vtasks_asgi.backends.memory.MemoryTaskBackend' in the settings of your tests"
)


def chosen(alias: str | None) -> VTasksBackend:
    """The backend of that alias, by default that of ``VTASKS_BACKEND``.

    Raises:
        ConfigurationError: it keeps no messages to look at.
    """
    backend = find_backend(alias or options().backend)
    if isinstance(backend, ImmediateBackend):
        raise ConfigurationError(
            f"TASKS[{backend.alias!r}] keeps no messages, for it runs each task within its enqueue;"
            f" look at what capture_tasks() records, or {ADVICE}"
        )
    return backend


@asynccontextmanager
async def looked_into(backend: VTasksBackend) -> AsyncIterator[FullStore]:
    """A store of that backend for the duration of the body.

    Raises:
        ConfigurationError: the test's transaction hides the messages from it.
        StoreError: it cannot be opened.
    """
    if not isinstance(backend, MemoryTaskBackend):
        await lanes.in_caller_thread(lambda: _refuse_transaction(backend))
    async with AsyncExitStack() as stack:
        try:
            store = await stack.enter_async_context(opened(backend))
        except StoreError as error:
            raise type(error)(f"{error}; {ADVICE}") from error
        yield store


def _refuse_transaction(backend: VTasksBackend) -> None:
    database = getattr(backend, "database", None)
    if database is not None and connections[database].in_atomic_block:
        raise ConfigurationError(
            f"an open transaction on {database!r}, such as that of a TestCase, hides what was"
            f" enqueued in it from every worker; {ADVICE}"
        )


def queues_of(backend: VTasksBackend) -> list[str]:
    """Every queue its messages may be in, those of the settings in their order."""
    queues = dict.fromkeys([*options().queues, *sorted(backend.queues)])
    if isinstance(backend, MemoryTaskBackend):
        queues |= dict.fromkeys(sorted(backend.memory.queues()))
    return list(queues)
