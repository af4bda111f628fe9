"""Tasks that write the ledger. Each takes the key of its message first; times are in seconds."""

import asyncio
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.contrib.sessions.models import Session
from django.utils import timezone

from tests.ledger import Kind, Pen
from tests.project.settings import BROKER_URL, FOLDER
from vtasks_asgi import VTaskContext, task
from vtasks_asgi.core.batch import BatchItem

if TYPE_CHECKING:
    from django.tasks import TaskContext

PEN = Pen(FOLDER / "ledger")
LOOK_EVERY = 0.02
#: Runs of the ``squeezed`` tasks at once.
SQUEEZED = 4


def gate(name: str) -> Path:
    """A test opens a gate by creating this file."""
    return FOLDER / "gates" / name


@task
async def nap(key: str, seconds: float = 0.0) -> int:
    """An async task that waits as it should."""
    with PEN.run(key):
        await asyncio.sleep(seconds)
    return os.getpid()


@task
def doze(key: str, seconds: float = 0.0) -> int:
    """A sync task."""
    with PEN.run(key):
        time.sleep(seconds)
    return os.getpid()


if not BROKER_URL:  # elsewhere no task can be transactional

    @task(transactional=True)
    def stamp(key: str, seconds: float = 0.0) -> None:
        """Leaves a row for each run of it that counts."""
        with PEN.run(key):
            name = f"{key}-{secrets.token_hex(4)}"
            Session.objects.create(session_key=name, expire_date=timezone.now())
            time.sleep(seconds)


@task
async def spin(key: str, seconds: float) -> int:
    """Async, and pure computation: the loop gets no turn until it ends."""
    with PEN.run(key):
        until, number = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            number += sum(range(1000))
    return os.getpid()


@task
async def block(key: str, seconds: float) -> int:
    """Async, and blocking as it should not."""
    with PEN.run(key):
        time.sleep(seconds)  # noqa: ASYNC251 - the very fault
    return os.getpid()


@task
async def gated(key: str) -> int:
    """Runs until the gate of its key and process opens."""
    with PEN.run(key):
        while not gate(f"{key}-{os.getpid()}").exists():  # noqa: ASYNC110 - another process opens
            await asyncio.sleep(LOOK_EVERY)
    return os.getpid()


@task
def gated_sync(key: str) -> int:
    """``gated`` in a thread."""
    with PEN.run(key):
        while not gate(f"{key}-{os.getpid()}").exists():
            time.sleep(LOOK_EVERY)
    return os.getpid()


@task
async def poison(key: str) -> None:
    """Kills its process, as a crash in an extension module would."""
    with PEN.run(key):
        os._exit(9)


@contextmanager
def all_of(items: list[BatchItem]) -> Iterator[float]:
    """Enclose the work of a batch: a run for each item; gives the longest of their times."""
    with ExitStack() as runs:
        for item in items:
            runs.enter_context(PEN.run(item["args"][0]))
        yield max(item["args"][1] for item in items)


@task
async def nap_many(items: list[BatchItem]) -> None:
    """``nap`` for a batch."""
    with all_of(items) as seconds:
        await asyncio.sleep(seconds)


@task
def doze_many(items: list[BatchItem]) -> None:
    """``doze`` for a batch."""
    with all_of(items) as seconds:
        time.sleep(seconds)


@task
async def poisoned_many(items: list[BatchItem]) -> None:
    """A batch that kills its process when a message with the key "poison" is in it."""
    with all_of(items) as seconds:
        await asyncio.sleep(seconds)
        if any(item["args"][0] == "poison" for item in items):
            os._exit(9)


@task
async def fountain(key: str, seconds: float, tasks_each: int) -> None:
    """Enqueues batches of no-ops as fast as the worker's own store takes them."""
    with PEN.run(key):
        until, number = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            number += 1
            keys = [f"{key}.{number}.{each}" for each in range(tasks_each)]
            await asyncio.gather(*(_enqueue(key) for key in keys))
    gate(f"{key}-ended").touch()


async def _enqueue(key: str) -> None:
    PEN.write(Kind.ASKED, key)
    await nap.aenqueue(key)
    PEN.write(Kind.ACCEPTED, key)


@task(takes_context=True, result_ttl=0)
async def called(context: VTaskContext, key: str, total: int) -> None:
    """A group's callback, which finds that all of its members have ended, and how."""
    with PEN.run(key):
        assert context.group is not None
        progress = await context.group.aprogress()
        assert (progress.total, progress.succeeded) == (total, total), progress
        results = await context.group.aresults()
        assert all(each and each.return_value for each in results), results


@task(takes_context=True)
async def beat(context: "TaskContext[Any, Any]", schedule: str) -> None:
    """A schedule's task; its key is the time of the tick, which the message counts as enqueued."""
    moment = context.task_result.enqueued_at
    assert moment is not None
    with PEN.run(f"{schedule}@{moment.timestamp():.0f}"):
        pass


@task(concurrency_limit=SQUEEZED, limit_key="squeezed")
async def squeezed(key: str, seconds: float) -> int:
    """``nap``, of which few may run at once."""
    with PEN.run(key):
        await asyncio.sleep(seconds)
    return os.getpid()


@task(concurrency_limit=SQUEEZED, limit_key="squeezed")
def squeezed_sync(key: str, seconds: float) -> int:
    """``doze``, under the same limit."""
    with PEN.run(key):
        time.sleep(seconds)
    return os.getpid()


@task(rate_limit="600/m")
async def paced(key: str) -> int:
    """Starts ten times a second."""
    with PEN.run(key):
        pass
    return os.getpid()
