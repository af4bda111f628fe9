"""Functions of batches, and what a test wants them to do with their items."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection, transaction

from vtasks_asgi import Backoff, task
from vtasks_asgi.core.batch import BatchItem

type Items = list[BatchItem]

AT_ONCE = Backoff(base=0.0)
LEFTOVER: contextvars.ContextVar[str] = contextvars.ContextVar("leftover", default="clean")

#: The items of each call, and in which thread it was.
CALLS: list[Items] = []
THREADS: set[str] = set()

#: What the next calls make of their items.
ANSWER: list[Callable[[Items], Any]] = []


def answer(items: Items) -> Any:
    CALLS.append([{**item, "kwargs": dict(item["kwargs"])} for item in items])
    THREADS.add(threading.current_thread().name)
    return ANSWER[0](items)


def poisoned(*culprits: int) -> Callable[[Items], None]:
    """A function that fails whenever one of these is among its items."""

    def work(items: Items) -> None:
        found = [item["kwargs"]["number"] for item in items]
        if bad := [number for number in found if number in culprits]:
            raise ValueError(f"cannot do {bad}")

    return work


@task(max_attempts=2, backoff=AT_ONCE)
def load(items: Items) -> Any:
    return answer(items)


@task(max_attempts=2, backoff=AT_ONCE)
async def aload(items: Items) -> Any:
    await asyncio.sleep(0)
    return answer(items)


@task(max_attempts=1)
def once(items: Items) -> Any:
    return answer(items)


@task(max_attempts=1)
def single(number: int) -> None:
    """What a queue with a task of its own is given."""


@task(takes_context=True)
def with_context(context: Any, items: Items) -> None: ...


@task(max_attempts=1)
def lonely() -> None: ...


@task
def leaves_a_mess(items: Items) -> list[Any]:
    """As a bug would: a transaction left open, a context variable set."""
    found = [connection.in_atomic_block, LEFTOVER.get()]
    transaction.atomic().__enter__()
    Group.objects.create(name=items[0]["id"])
    LEFTOVER.set("dirty")
    return [found for _ in items]


@task
async def aleaves_a_mess(items: Items) -> list[Any]:
    found = [await Group.objects.acount(), LEFTOVER.get()]
    LEFTOVER.set("dirty")
    return [found for _ in items]


def sizes() -> list[int]:
    return [len(items) for items in CALLS]


def numbers() -> list[list[int]]:
    return [[item["kwargs"]["number"] for item in items] for items in CALLS]


@task(max_attempts=1, timeout=0.2)
def hangs(items: Items) -> None:
    """Whenever number 1 is among its items."""
    while any(item["kwargs"]["number"] == 1 for item in items):
        time.sleep(0.01)


@task(max_attempts=1, timeout=0.2)
async def ahangs(items: Items) -> None:
    while any(item["kwargs"]["number"] == 1 for item in items):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
