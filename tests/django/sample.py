"""Tasks that tests of Django's side enqueue and run."""

import asyncio
import contextvars
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import django.tasks
from asgiref.sync import sync_to_async
from django.db import connection, transaction

from vtasks_asgi import Backoff, task

if TYPE_CHECKING:
    from django.tasks import TaskContext

AT_ONCE = Backoff(base=0.0)
LEFTOVER: contextvars.ContextVar[str] = contextvars.ContextVar("leftover", default="clean")

#: What tasks noted while they ran; the fixture of the tests empties it.
SEEN: list[Any] = []


@task
def add(a: int, b: int = 0) -> int:
    return a + b


@task
async def aadd(a: int, b: int = 0) -> int:
    await asyncio.sleep(0)
    return a + b


@django.tasks.task
def plain(a: int) -> int:
    return a * 2


@django.tasks.task
async def aplain(a: int) -> int:
    return a * 2


@task
def echo(value: Any = None, **more: Any) -> Any:
    return value if not more else [value, more]


@task
def note(value: Any) -> None:
    SEEN.append(value)


@task
async def anote(value: Any) -> None:
    SEEN.append(value)


@task(takes_context=True)
def context_of(context: "TaskContext[Any, Any]", *args: Any) -> list[Any]:
    result = context.task_result
    return [context.attempt, result.id, str(result.status), result.args, list(args)]


@task(takes_context=True, max_attempts=3, backoff=AT_ONCE)
async def acontext_of(context: "TaskContext[Any, Any]", until: int = 1) -> list[Any]:
    if context.attempt < until:
        raise ValueError(f"attempt {context.attempt}")
    return [context.attempt, len(context.task_result.errors), context.task_result.worker_ids]


@task(max_attempts=1)
def fails(text: str = "broken") -> None:
    local_secret = "hunter2"  # noqa: F841 - must not be in the traceback
    raise ValueError(text)


@task(max_attempts=1)
async def afails(text: str = "broken") -> None:
    raise ValueError(text)


@task(max_attempts=3, backoff=AT_ONCE)
def fails_thrice() -> None:
    raise KeyError("again")


@task(max_attempts=3, backoff=Backoff(base=3600.0))
def fails_later() -> None:
    raise KeyError("later")


@task(takes_context=True, max_attempts=3, backoff=AT_ONCE)
def third_time_lucky(context: "TaskContext[Any, Any]") -> str:
    if context.attempt < 3:
        raise ValueError(f"attempt {context.attempt}")
    return "lucky"


EXITS: dict[str, BaseException] = {
    "SystemExit": SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "GeneratorExit": GeneratorExit(),
    "StopIteration": StopIteration(),
    "CancelledError": asyncio.CancelledError(),
    "BaseException": BaseException("bare"),
    "TimeoutError": TimeoutError(),
    "StopAsyncIteration": StopAsyncIteration(),
}


@task(max_attempts=1)
def leaves(kind: str) -> None:
    if kind == "SystemExit":
        sys.exit(3)
    raise EXITS[kind]


@task(max_attempts=1)
async def aleaves(kind: str) -> None:
    if kind == "SystemExit":
        sys.exit(3)
    raise EXITS[kind]


@task
def unserialisable() -> Any:
    return {"when": object()}


@task
async def aunserialisable() -> Any:
    return {1, 2}


@task
def huge() -> str:
    return os.urandom(2_000_000).hex()


@task(result_ttl=0)
def traceless() -> int:
    return 1


@task(result_ttl=0)
def traceless_object() -> Any:
    return object()


@task(result_ttl=7.5)
def brief() -> int:
    return 1


@task(max_attempts=2, backoff=AT_ONCE)
def enqueues_too_much() -> None:
    note.enqueue("x" * 20_000_000)


@task
def enqueues(value: Any) -> str:
    return note.enqueue(value).id


@task
async def aenqueues(value: Any) -> str:
    return (await note.aenqueue(value)).id


@task
def leaves_atomic_open(name: str) -> None:
    """As a bug would: enters a transaction and never comes back out of it."""
    transaction.atomic().__enter__()
    write(name)


@task
async def aleaves_atomic_open(name: str) -> None:
    await sync_to_async(transaction.atomic().__enter__)()
    await sync_to_async(write)(name)


@task(max_attempts=1)
def raises_in_atomic(name: str) -> None:
    with transaction.atomic():
        write(name)
        raise ValueError(name)


@task
def leaves_autocommit_off(name: str) -> None:
    transaction.set_autocommit(False)
    write(name)


@task
def writes(name: str) -> list[Any]:
    """Writes as a good task does, and tells how it found the connection."""
    found = [connection.in_atomic_block, connection.get_autocommit(), connection.needs_rollback]
    write(name)
    return found


@task
async def awrites(name: str) -> list[Any]:
    return await sync_to_async(lambda: writes.func(name))()


def write(name: str) -> None:
    from django.contrib.auth.models import Group

    Group.objects.create(name=name)


@task
def thread_name() -> str:
    return threading.current_thread().name


@task
async def athread_names() -> list[Any]:
    """Where an async task runs, and where it is sent for thread-bound work, twice."""
    from django.contrib.auth.models import Group

    def here() -> tuple[str, int]:
        return threading.current_thread().name, id(connection.connection)

    await Group.objects.acount()
    first = await sync_to_async(here)()
    await Group.objects.acount()
    second = await sync_to_async(here)()
    return [threading.current_thread().name, first, second]


@task
def leaves_context(value: str) -> str:
    found = LEFTOVER.get()
    LEFTOVER.set(value)
    return found


@task
async def aleaves_context(value: str) -> str:
    found = LEFTOVER.get()
    LEFTOVER.set(value)
    await asyncio.sleep(0)
    return found


class Meeting:
    """Tasks that wait until so many are there at once, or until they are let go."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2, timeout=20.0)
        self.arrived = threading.Semaphore(0)
        self.go = threading.Event()


MEETING = Meeting()


@task
def meet() -> int:
    return MEETING.barrier.wait()


@task
def waits_in_thread() -> str:
    MEETING.arrived.release()
    MEETING.go.wait(20.0)
    return "went"


@task
async def waits_on_loop() -> str:
    MEETING.arrived.release()
    await asyncio.Event().wait()
    return "never"


@task
def wants_queue_name(queue_name: str) -> str:
    return queue_name


@task
def pair() -> Any:
    return (1, {"a": (2,)})


@task
def note_connection() -> None:
    """Note the driver's own connection, which Django keeps or closes."""
    connection.ensure_connection()
    SEEN.append(connection.connection)
