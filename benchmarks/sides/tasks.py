"""The tasks measured: the same functions on every side, most often as tasks of Django's.

Packages with decorators of their own decorate the functions within: ``noop.func``.
"""

import asyncio
import inspect
import time
from typing import Any

from django.tasks import Task, task

from benchmarks.sides import NAP
from benchmarks.sides.ledger import arrivals, ledger


@task
async def noop(number: int, *payload: str) -> None:
    """Do nothing but be counted."""
    ledger.add(number)


@task
async def sleep(number: int) -> None:
    """Wait as for a network."""
    await asyncio.sleep(NAP)
    ledger.add(number)


@task
def sync_noop(number: int, *payload: str) -> None:
    """``noop`` in a thread."""
    ledger.add(number)


@task
def sync_sleep(number: int) -> None:
    """``sleep`` in a thread."""
    time.sleep(NAP)
    ledger.add(number)


@task
async def stamp(sent: int) -> None:
    """Note how long ago ``sent`` (nanoseconds, the machine's monotonic clock) is."""
    arrivals.append(time.monotonic_ns() - sent)
    ledger.add(0)


@task
async def beat() -> None:
    """For a schedule: nothing at all."""


TASKS: "dict[str, Task[..., Any]]" = {
    each.func.__name__: each for each in (noop, sleep, sync_noop, sync_sleep, stamp)
}


def is_async(name: str) -> bool:
    """Is that task a coroutine function?"""
    return inspect.iscoroutinefunction(TASKS[name].func)
