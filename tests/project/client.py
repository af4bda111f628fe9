"""A Django process beside the workers: enqueues, looks results up, and writes with the ORM.

Reads one JSON object a line, ``{"do": verb, ...}``, and answers with one: ``{"answer": ...}`` or
``{"error": "Class: text"}``. ``feed`` and ``scribble`` go on in threads until ``rest``.
"""

import asyncio
import json
import sys
import threading
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.tasks import task_backends
from django.utils import timezone

from tests.ledger import Kind
from tests.project import tasks
from tests.project.tasks import PEN
from vtasks_asgi import group
from vtasks_asgi.assembly import find_backend
from vtasks_asgi.exceptions import StoreUnavailable
from vtasks_asgi.store.base import Record, State

type Background = tuple[threading.Thread, list[int]]

_resting = threading.Event()
_background: list[Background] = []


def enqueue(task: str, key: str, *args: Any, queue: str = "default") -> str:
    """One call, its key in the ledger before and after."""
    PEN.write(Kind.ASKED, key)
    result = getattr(tasks, task).using(queue_name=queue).enqueue(key, *args)
    PEN.write(Kind.ACCEPTED, key)
    return str(result.id)


def enqueue_many(task: str, keys: list[str], *args: Any) -> None:
    """One call a key, all in one step."""
    for key in keys:
        PEN.write(Kind.ASKED, key)
    backend: Any = task_backends["default"]
    backend.enqueue_many([(getattr(tasks, task), (key, *args), {}) for key in keys])
    for key in keys:
        PEN.write(Kind.ACCEPTED, key)


def result(id: str) -> dict[str, Any]:
    """What Django's API says of a message."""
    found = task_backends["default"].get_result(id)
    value = found.return_value if found.status == "SUCCESSFUL" else None
    errors = [error.exception_class_path for error in found.errors]
    return {"status": found.status, "value": value, "attempts": found.attempts, "errors": errors}


def letters(queue: str = "default") -> list[dict[str, Any]]:
    """The dead letters of a queue."""

    async def look() -> list[Record]:
        store = find_backend("default").make_store()
        await store.open()
        try:
            return (await store.browse(queue, State.DEAD, limit=100))[0]
        finally:
            await store.aclose()

    return [
        {"id": each.id, "reason": each.reason, "crashes": each.crashes}
        for each in asyncio.run(look())
    ]


def feed(
    prefix: str,
    calls: list[tuple[str, list[Any]]],
    every: float,
    stubborn: bool = False,
    queue: str = "default",
) -> None:
    """Enqueue the calls ``[task, arguments]`` in turn, one each ``every`` s, until ``rest``.

    A ``stubborn`` one goes on when the store is unavailable: whether that call was stored is open.
    """

    def step(number: int) -> None:
        task, args = calls[number % len(calls)]
        with suppress(*([StoreUnavailable] if stubborn else [])):
            enqueue(task, f"{prefix}{number}", *args, queue=queue)
        _resting.wait(every)

    _start(step)


def open_group(prefix: str, size: int, seconds: float) -> str:
    """A group whose members are followed by another task each; all keys are in the ledger."""
    numbers = range(size)
    keys = [f"{prefix}.{number}" for number in numbers]
    every = [*keys, *(f"{key}.then" for key in keys), f"{prefix}.called"]
    for key in every:
        PEN.write(Kind.ASKED, key)
    naps = (tasks.nap, tasks.doze)
    items = [
        naps[number % 2].using(then=tasks.nap.item(f"{key}.then")).item(key, seconds)
        for number, key in zip(numbers, keys, strict=True)
    ]
    made = group(items, on_complete=tasks.called.item(f"{prefix}.called", size))
    for key in every:
        PEN.write(Kind.ACCEPTED, key)
    return made.id


def feed_groups(prefix: str, size: int, seconds: float, every: float) -> None:
    """``open_group`` each ``every`` s, until ``rest``."""

    def step(number: int) -> None:
        open_group(f"{prefix}{number}", size, seconds)
        _resting.wait(every)

    _start(step)


def scribble(prefix: str) -> None:
    """Write with the ORM as fast as it goes, in transactions that enqueue too, until ``rest``.

    Every third transaction is rolled back, its enqueue with it.
    """

    def step(number: int) -> None:
        name = f"{prefix}{number}"
        try:
            with transaction.atomic():
                Session.objects.create(session_key=name, expire_date=timezone.now())
                tasks.nap.enqueue(name)
                later = timezone.now() + timedelta(days=1)
                Session.objects.filter(session_key=name).update(expire_date=later)
                if number % 3 == 2:
                    raise _Rollback
                PEN.write(Kind.ASKED, name)
            PEN.write(Kind.ACCEPTED, name)
        except _Rollback:
            pass

    _start(step)


class _Rollback(Exception):
    """Ends a transaction on purpose."""


def _start(step: Any) -> None:
    _resting.clear()
    count = [0]

    def work() -> None:
        while not _resting.is_set():
            step(count[0])
            count[0] += 1
        connection.close()

    thread = threading.Thread(target=work)
    _background.append((thread, count))
    thread.start()


def rest() -> int:
    """End what goes on in the background; how many steps it made. A failed one is on stderr."""
    _resting.set()
    steps = 0
    while _background:
        thread, count = _background.pop()
        thread.join()
        steps += count[0]
    return steps


VERBS = {
    verb.__name__: verb
    for verb in (
        enqueue,
        enqueue_many,
        result,
        letters,
        feed,
        open_group,
        feed_groups,
        scribble,
        rest,
    )
}


def serve() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        verb: Any = VERBS[request["do"]]
        try:
            reply = {"answer": verb(*request["args"], **request["kwargs"])}
        except Exception as error:  # noqa: BLE001 - the test decides what it means
            reply = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
    rest()
