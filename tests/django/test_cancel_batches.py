"""Cancelling what runs in a batch: it is in no further call, and is not tried again."""

import asyncio
from collections.abc import Sequence
from threading import Semaphore
from typing import Any

import pytest
from django.tasks import TaskResultStatus, task_backends

from tests.django import batch_tasks
from tests.django.batch_tasks import ANSWER, CALLS, Items, load, sizes
from tests.django.conftest import Change
from tests.django.helpers import refreshed, run
from vtasks_asgi.exceptions import TaskCancelled
from vtasks_asgi.runtime import leases
from vtasks_asgi.runtime.events import Listener, hub
from vtasks_asgi.store.base import Claim
from vtasks_asgi.store.control import Cancel


class Told(Listener):
    """A permit for each time that a worker has learned of a cancellation."""

    def __init__(self) -> None:
        self.permits = Semaphore(0)

    def cancelled(self, claims: Sequence[Claim]) -> None:
        asyncio.get_running_loop().call_soon(self.permits.release)  # once it is known everywhere


def test_it_is_in_no_further_call(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PING_EVERY", "LOOK_AFTER", "LOOK_EVERY"):
        monkeypatch.setattr(leases, name, 0.02)
    CALLS.clear()
    batch_tasks.THREADS.clear()
    change(VTASKS_BATCH_QUEUES={"b": {"count": 4, "timeout": 0.05}})
    told = Told()
    backend: Any = task_backends["default"]
    task: Any = load.using(queue_name="b")
    results = [task.enqueue(number=number) for number in range(4)]

    def fail_once(items: Items) -> Any:
        if len(CALLS) > 1:
            return None
        assert backend.cancel(results[1].id) is Cancel.ASKED
        assert told.permits.acquire(timeout=20.0)
        raise ValueError("all of them")

    ANSWER[:] = [fail_once]
    hub.add(told)
    try:
        run(4)
    finally:
        hub.remove(told)
    assert sizes() == [4, 1, 2]
    assert [result.status for result in refreshed(*results)] == [
        TaskResultStatus.SUCCESSFUL,
        TaskResultStatus.FAILED,
        TaskResultStatus.SUCCESSFUL,
        TaskResultStatus.SUCCESSFUL,
    ]
    assert [error.exception_class for error in results[1].errors] == [TaskCancelled]
