"""The ancestor's samples of testing, batches and commands: only their imports are changed.

``VTASKS_IS_WORKER`` and ``prune_installed_apps`` are in ``tests/django/test_prune.py``.
"""

import shlex
import unittest
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.tasks import task_backends

from tests.django import sample
from tests.django.conftest import Change
from tests.django.everywhere import each_backend
from vtasks_asgi import task
from vtasks_asgi.conf import options
from vtasks_asgi.testing import drain

__all__ = ["each_backend"]

#: What the tasks of the samples did.
DONE: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    DONE.clear()


# -- docs/guide: Testing


@task
def my_task() -> None:
    DONE.append("my_task")


@task
def process_batch(tasks: list[Any]) -> None:
    DONE.append([task["kwargs"]["item_id"] for task in tasks])


IMMEDIATE_SAMPLE = """
from django.test import TestCase, override_settings
@override_settings(
    TASKS={
        "default": {
            "BACKEND": "vtasks_asgi.backends.immediate.ImmediateBackend",
        }
    }
)
class MyTaskTests(TestCase):
    def test_something(self):
        # Tasks run immediately and synchronously
        my_task.enqueue()
        # ... assertions
"""

BATCHING_SAMPLE = """
from django.tasks import task_backends
from django.test import TestCase, override_settings
@override_settings(
    TASKS={"default": {"BACKEND": "vtasks_asgi.backends.immediate.ImmediateBackend"}},
    VTASKS_BATCH_QUEUES={"batch_queue": {"count": 100, "timeout": 5.0}}
)
class MyBatchingTest(TestCase):
    def test_batching(self):
        backend = task_backends["default"]
        for i in range(5):
            process_batch.using(queue_name="batch_queue").enqueue(item_id=i)
        # Tasks are stored, not executed
        self.assertEqual(len(backend.pending_batches["batch_queue"]), 5)
        # Manually trigger batch processing
        backend.flush_batch("batch_queue")
        # Now verify your batch logic ran
        self.assertEqual(len(backend.pending_batches["batch_queue"]), 0)
"""


@pytest.mark.parametrize(
    ("source", "name", "done"),
    [
        (IMMEDIATE_SAMPLE, "MyTaskTests", ["my_task"]),
        (BATCHING_SAMPLE, "MyBatchingTest", [[0, 1, 2, 3, 4]]),
    ],
    ids=["immediate", "batching"],
)
def test_the_test_cases_pass(source: str, name: str, done: list[Any]) -> None:
    scope: dict[str, Any] = {"my_task": my_task, "process_batch": process_batch}
    exec(compile(source, "sample", "exec"), scope)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(scope[name])
    result = unittest.TextTestRunner(stream=StringIO()).run(suite)
    assert (result.testsRun, result.failures, result.errors) == (1, [], [])
    assert done == DONE


# -- README: Batch Processing

SETTINGS_SAMPLE = """
VTASKS_BATCH_QUEUES = {
    "batch_queue": {
        "count": 100,  # Max number of tasks to fetch at once
        "timeout": 5.0,  # Max time to wait for tasks
        "task": "tests.testing.test_seeds.process_widgets_batch",  # The function to process it
    }
}
"""

ENQUEUE_SAMPLE = """
# Enqueueing multiple tasks to the batch_queue
for i in range(10):
    single_widget_task.enqueue(widget_id=i, queue_name="batch_queue")
"""


@task
def process_widgets_batch(tasks: list[Any]) -> None:
    """Processes a batch of widgets."""
    widget_ids = [task["kwargs"]["widget_id"] for task in tasks]
    DONE.append(widget_ids)


@task
def single_widget_task(widget_id: int) -> None:
    """A dummy task to be processed in a batch."""


def test_a_batch_queue(each_backend: object, change: Change) -> None:
    scope: dict[str, Any] = {"single_widget_task": single_widget_task}
    exec(SETTINGS_SAMPLE, scope)
    change(VTASKS_BATCH_QUEUES=scope["VTASKS_BATCH_QUEUES"])
    assert options().batch_queues["batch_queue"].count == 100
    exec(ENQUEUE_SAMPLE, scope)
    drain(raise_errors=True)
    assert [list(range(10))] == DONE


# -- README and guide: Clearing Queues

COMMANDS = r"""
# Clear a specific queue (with confirmation prompt)
python manage.py clear_queue --backend-alias=default --queue=default

# Clear a specific queue without confirmation
python manage.py clear_queue --backend-alias=default --queue=default --force

# Clear all queues for a backend
python manage.py clear_queue --backend-alias=default --all-queues --force

# Clear failed tasks (DLQ)
python manage.py clear_queue --backend-alias=default --failed --force

# Examples with different backends
python manage.py clear_queue --backend-alias=benchmark_postgres --force
python manage.py clear_queue --backend-alias=benchmark_valkey --force
"""

BENCHMARKS = r"""
# Basic benchmark
python manage.py benchmark_vtasks --count=1000 --concurrency=50

# Test specific backend and task type
python manage.py benchmark_vtasks \
    --backend-alias=benchmark_valkey \
    --task-type=sleep \
    --count=1000 \
    --concurrency=50

# Test with large payloads
python manage.py benchmark_vtasks \
    --task-type=noop \
    --payload-size=1024 \
    --count=500
"""


def commands(text: str) -> list[list[str]]:
    """The arguments of each command after ``manage.py``."""
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[2:] for line in lines if line.startswith("python manage.py")]


@pytest.fixture
def aliases(each_backend: dict[str, Any], change: Change) -> list[str]:
    """Each alias that the samples name, of one kind."""
    names = ["default", "benchmark_postgres", "benchmark_valkey"]
    change(TASKS=dict.fromkeys(names, each_backend))
    return names


def manage(*arguments: str) -> str:
    stdout = StringIO()
    call_command(*arguments, stdout=stdout)
    return stdout.getvalue()


@pytest.mark.parametrize("arguments", commands(COMMANDS), ids=" ".join)
def test_clear_queue(
    aliases: list[str], arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: "yes")
    alias = arguments[1].partition("=")[2]
    sample.fails.using(backend=alias).enqueue()
    drain(backend=alias)
    sample.note.using(backend=alias).enqueue("x")
    assert "default: deleted 1\n" in manage(*arguments)
    assert len(drain(backend=alias)) == ("--failed" in arguments)


@pytest.mark.parametrize("arguments", commands(BENCHMARKS), ids=" ".join)
def test_benchmark_vtasks(aliases: list[str], arguments: list[str]) -> None:
    told = manage(*arguments)
    assert "Enqueued" in told
    assert "Processed" in told
    assert task_backends["default"].queues == {"default"}
