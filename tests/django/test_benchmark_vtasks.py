"""``manage.py benchmark_vtasks``: it measures something true, and leaves nothing behind."""

import asyncio
import re
import subprocess
import sys
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.tasks import task_backends

from tests.django import sample
from tests.django.conftest import Change
from tests.django.everywhere import BACKENDS, each_backend
from vtasks_asgi.assembly import opened
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.management import benchmark
from vtasks_asgi.store.base import State

__all__ = ["each_backend"]

MEMORY = {"BACKEND": f"{BACKENDS}.memory.MemoryTaskBackend"}

#: What ``note`` was called with.
PAYLOADS: list[str] = []


async def note(payload: str) -> None:
    PAYLOADS.append(payload)


@pytest.fixture(autouse=True)
def store(each_backend: object) -> None:
    """Each test on each kind of store."""


def measure(*options: str) -> str:
    """Run the command; what it wrote."""
    stdout = StringIO()
    call_command("benchmark_vtasks", *options, stdout=stdout)
    return stdout.getvalue()


def kept() -> int:
    """How many records of any state the benchmark's queue holds."""
    backend: Any = task_backends["default"]

    async def look() -> int:
        async with opened(backend) as store:
            found = [await store.browse(benchmark.QUEUE, state, limit=100) for state in State]
            return sum(len(records) for records, _ in found)

    return asyncio.run(look())


def leave(state: State) -> None:
    """A message of an earlier run."""
    backend: Any = task_backends["default"]

    async def push() -> None:
        async with opened(backend) as store:
            await store.push([Message(new_id(), benchmark.QUEUE, b"x")])
            if state is State.RUNNING:
                await store.claim(benchmark.QUEUE, 1, worker="other", lease=60.0)

    asyncio.run(push())


@pytest.mark.parametrize("task_type", sorted(benchmark.TASK_TYPES))
def test_both_rates_are_told(task_type: str) -> None:
    told = measure(f"--task-type={task_type}", "--count=20", "--concurrency=5")
    assert re.fullmatch(
        rf"20 {task_type} tasks of 0 bytes, 5 at once, backend 'default' \(\w+\)\n"
        r"Enqueued +[\d,]+ tasks/s  \([\d.]+ s\)\n"
        r"Processed +[\d,]+ tasks/s  \([\d.]+ s\)\n",
        told,
    )
    assert kept() == 0


def test_each_task_is_run_once_with_its_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    PAYLOADS.clear()
    monkeypatch.setitem(benchmark.TASK_TYPES, "noop", note)
    measure("--count=50", "--payload-size=1024")
    assert [len(payload) for payload in PAYLOADS] == [1024] * 50
    assert len(set(PAYLOADS)) == 1


@pytest.mark.parametrize("state", [State.READY, State.RUNNING])
def test_a_queue_that_is_not_empty_is_refused(state: State) -> None:
    leave(state)
    with pytest.raises(CommandError, match="holds 1 messages: another benchmark is running"):
        measure("--count=5")
    assert kept() == 1


def test_what_an_earlier_run_left_is_deleted_on_demand() -> None:
    leave(State.READY)
    measure("--count=5", "--force")
    assert kept() == 0


def test_what_runs_elsewhere_is_not() -> None:
    leave(State.RUNNING)
    with pytest.raises(CommandError, match="holds 1 messages"):
        measure("--count=5", "--force")


def test_other_queues_are_left_alone() -> None:
    result = sample.note.enqueue("x")
    measure("--count=5")
    result.refresh()
    assert (result.status, sample.SEEN) == ("READY", [])


def test_the_queue_exists_only_meanwhile() -> None:
    measure("--count=5")
    backend: Any = task_backends["default"]
    assert backend.queues == {"default"}


def test_a_backend_that_takes_any_queue(change: Change) -> None:
    change(TASKS={"default": MEMORY | {"QUEUES": []}})
    measure("--count=5")
    backend: Any = task_backends["default"]
    assert backend.queues == set()


def test_another_alias(change: Change) -> None:
    change(TASKS={"default": MEMORY | {"QUEUES": ["mail"]}, "other": MEMORY})
    assert "backend 'other' (MemoryTaskBackend)" in measure("--backend-alias=other", "--count=5")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--count=0"], "--count must be at least 1"),
        (["--concurrency=0"], "--concurrency must be at least 1"),
        (["--payload-size=-1"], "--payload-size must be at least 0"),
        (["--backend-alias=nowhere"], "nowhere"),
        (["--payload-size=3000000", "--count=1"], "the limit is"),
        (["--task-type=dance"], "invalid choice: 'dance'"),
    ],
)
def test_wrong_options_are_named(options: list[str], error: str) -> None:
    with pytest.raises(CommandError, match=error) as raised:
        measure(*options)
    assert raised.value.returncode == 1
    assert kept() == 0


def test_no_other_process_knows_its_tasks() -> None:
    source = """if True:
        import django
        django.setup()
        from vtasks_asgi import registry
        registry.discover()
        print([name for name in registry.names() if "benchmark" in name])
    """
    command = [sys.executable, "-c", source]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
