"""``drain`` and batch queues: their messages run in batches, and share what becomes of them."""

from datetime import timedelta
from typing import Any

import pytest
from django.tasks import TaskResultStatus

from tests.django import sample
from tests.django.conftest import Change
from vtasks_asgi import Backoff, task
from vtasks_asgi.backends.memory import MemoryTaskBackend
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.testing import drain

type Memory = MemoryTaskBackend


@task
def total(items: list[Any]) -> int:
    return sum(item["args"][0] for item in items)


@task(max_attempts=2, backoff=Backoff(base=60.0, jitter=0.0))
def breaks(items: list[Any]) -> None:
    raise ValueError("broken")


def test_batch_queues_run_in_batches(vtasks: Memory, change: Change) -> None:
    change(VTASKS_BATCH_QUEUES={"b": {"count": 3, "timeout": 5.0, "task": total.module_path}})
    results = [sample.add.using(queue_name="b").enqueue(n) for n in range(4)]
    ran = drain()
    assert [each.id for each in ran] == [result.id for result in results]
    assert {each.status for each in ran} == {TaskResultStatus.SUCCESSFUL}


def test_a_batch_that_fails_is_tried_again(vtasks: Memory, change: Change) -> None:
    change(VTASKS_BATCH_QUEUES={"b": {"count": 3, "timeout": 5.0}})
    for n in range(2):
        breaks.using(queue_name="b").enqueue([n])
    assert [each.status for each in drain()] == ["READY", "READY"]
    ran = drain(advance=timedelta(seconds=60))
    assert [(each.status, len(each.errors)) for each in ran] == [("FAILED", 2)] * 2


def test_a_batch_for_a_task_nobody_knows_is_given_back(vtasks: Memory, change: Change) -> None:
    change(VTASKS_BATCH_QUEUES={"b": {"count": 3, "timeout": 5.0, "task": "no.such"}})
    sample.add.using(queue_name="b").enqueue(1)
    with pytest.raises(ConfigurationError, match=r"'no\.such' of a batch is not registered"):
        drain()
    change(VTASKS_BATCH_QUEUES={"b": {"count": 3, "timeout": 5.0, "task": total.module_path}})
    assert [ran.attempts for ran in drain()] == [1]
