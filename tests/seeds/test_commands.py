"""The commands, each with the very options of its sample, on each store."""

import asyncio
import re
import tomllib
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from django.core.management import call_command
from django.tasks import task_backends

from tests.django import sample as own
from tests.django.conftest import Change
from tests.django.helpers import Ear
from tests.processes import free_port
from tests.seeds import world
from tests.seeds.samples import commands, managed, run_sample
from tests.seeds.test_batches import batches
from tests.seeds.world import SEEN
from vtasks_asgi.assembly import opened
from vtasks_asgi.runtime.events import hub
from vtasks_asgi.runtime.runtime import Runtime
from vtasks_asgi.testing import drain

ROOT = Path(__file__).parents[2]

type Until = Callable[..., list[Runtime]]


def manage(*arguments: str) -> str:
    stdout = StringIO()
    call_command(*arguments, stdout=stdout, stderr=StringIO())
    return stdout.getvalue()


# -- runworker


@pytest.fixture
def until(monkeypatch: pytest.MonkeyPatch) -> Until:
    """``until(count)``: a worker ends by itself when so many runs have; ``page`` is read before."""
    run = Runtime.run

    def until(count: int, page: Callable[[], object] = lambda: None) -> list[Runtime]:
        ran: list[Runtime] = []

        async def run_until(self: Runtime) -> None:
            ear = Ear()
            hub.add(ear)
            life = asyncio.create_task(run(self))
            try:
                await asyncio.to_thread(ear.wait, count)
                await asyncio.to_thread(page)
            finally:
                self.close()
                await life
                hub.remove(ear)
            ran.append(self)

        monkeypatch.setattr(Runtime, "run", run_until)
        return ran

    return until


@pytest.mark.parametrize("arguments", managed("readme/workers"), ids=" ".join)
def test_workers(store: object, arguments: list[str], change: Change, until: Until) -> None:
    change(VTASKS_BATCH_QUEUES=batches("readme/batch-settings"))
    batch = "--queue=batch_queue" in arguments
    queue = "high_priority" if "--concurrency" in arguments else "default"
    world.myapp.process_user.using(queue_name="batch_queue" if batch else queue).enqueue(1)
    ran = until(1)
    manage(*arguments)
    if "--concurrency" in arguments:
        [pool] = ran[0].config.pools
        assert (pool.queues, pool.size) == (("high_priority", "default"), 100)
    assert len(ran) == 1


@pytest.mark.parametrize("document", ["readme", "guide"])
def test_the_scheduler(store: object, document: str, change: Change, until: Until) -> None:
    names = {"readme": ("readme/schedule", "readme/scheduler")}
    names["guide"] = ("guide/schedule", "guide/scheduler")
    settings, command = names[document]
    change(VTASKS_SCHEDULE=run_sample(settings)["VTASKS_SCHEDULE"], TIME_ZONE="UTC")
    until(2)

    async def long_ago() -> None:
        async with opened(task_backends["default"]) as it:  # type: ignore[arg-type]
            for name in ("daily_report", "cleanup"):
                await it.push_tick(name, 1_000_000_000.0, None)

    asyncio.run(long_ago())
    [arguments] = managed(command)
    manage(*arguments)
    assert sorted(SEEN) == ["cleanup", "report"]
    [daily, hourly] = manage("vtasks", "schedule").splitlines()[1:]
    assert re.search(r"myapp\.tasks\.report .*T05:00:00\+00:00 +0 .*T05:00:00\+00:00$", daily)
    assert re.search(r"myapp\.tasks\.cleanup .*:00:00\+00:00 +0 .*:00:00\+00:00$", hourly)


def test_metrics(store: object, until: Until) -> None:
    """On a free port instead of the sample's."""
    [arguments] = managed("guide/metrics")
    assert arguments[-1] == "9100"
    port, pages = str(free_port()), []
    world.myapp.process_user.enqueue(1)

    def read() -> None:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
            pages.append(page.read().decode())

    until(1, read)
    manage(*arguments[:-1], port)
    labels = 'queue="default",status="success",task_name="myapp.tasks.process_user"'
    assert f"vtasks_tasks_processed_total{{{labels}}}" in pages[0]
    for name in ("submitted_total", "processed_total"):
        assert f"\nvtasks_tasks_{name}" in pages[0]
    for name in ("task_duration_seconds", "active_tasks", "queue_depth"):
        assert f"\nvtasks_{name}" in pages[0]


# -- clear_queue and benchmark_vtasks


@pytest.fixture
def aliases(each_backend: dict[str, Any], change: Change) -> list[str]:
    """Each alias that the samples name, of one kind."""
    names = ["default", "benchmark_postgres", "benchmark_valkey"]
    change(TASKS=dict.fromkeys(names, each_backend))
    return names


@pytest.mark.parametrize(
    "arguments", managed("readme/clear-queue", "guide/clear-queue"), ids=" ".join
)
def test_clear_queue(
    aliases: list[str], arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: "yes")
    alias = arguments[1].partition("=")[2]
    own.fails.using(backend=alias).enqueue()
    drain(backend=alias)
    own.note.using(backend=alias).enqueue("x")
    assert "default: deleted 1\n" in manage(*arguments)
    assert len(drain(backend=alias)) == ("--failed" in arguments)


@pytest.mark.parametrize("arguments", managed("readme/benchmark"), ids=" ".join)
def test_benchmark_vtasks(aliases: list[str], arguments: list[str]) -> None:
    told = manage(*arguments)
    assert "Enqueued" in told
    assert "Processed" in told
    assert task_backends["default"].queues == {"default"}


# -- what is only about text


def test_what_can_be_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [commands(name) for name in ("readme/install", "guide/install")]
    for *_, package in (each for lines in asked for each in lines):
        name, _, extras = package.rstrip("]").partition("[")
        assert name.replace("django-vtasks", "vtasks-asgi") == project["name"]
        assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_what_developers_type_is_different_here() -> None:
    """See docs/decisions/0023: each has its counterpart in the Makefile and compose.yml."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert commands("readme/suite") == [["python", "benchmarks/run_suite.py"]]
    assert "\nbench: " in makefile
    assert (ROOT / "benchmarks" / "run.py").exists()
    tools = {command[0] for command in commands("readme/develop")}
    assert tools == {"docker", "uv", "source"}
    assert "\ntest: " in makefile
    assert "  tests:\n" in (ROOT / "compose.yml").read_text("utf-8")
