"""``manage.py runworker``: its options, its exit codes, and that it ends when asked."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from urllib.request import urlopen

import pytest
from django.core.management import CommandError, call_command

from tests.django import sample
from tests.django.conftest import Change
from tests.django.helpers import rows
from tests.processes import free_port
from vtasks_asgi.management.commands import runworker
from vtasks_asgi.observe.health_file import HealthFile
from vtasks_asgi.runtime.config import PoolConfig
from vtasks_asgi.runtime.health import Health, Status
from vtasks_asgi.runtime.runtime import Runtime

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def runtimes(monkeypatch: pytest.MonkeyPatch) -> list[Runtime]:
    """The runtimes that were started; each ends at once."""
    started: list[Runtime] = []

    async def run(self: Runtime) -> None:
        started.append(self)

    monkeypatch.setattr(Runtime, "run", run)
    return started


def work(*options: str) -> str:
    """Run the command; what it wrote."""
    stderr = StringIO()
    call_command("runworker", *options, stderr=stderr)
    return stderr.getvalue()


def test_without_options_the_settings_decide(runtimes: list[Runtime], change: Change) -> None:
    change(VTASKS_CONCURRENCY=7, VTASKS_LEASE=9, VTASKS_DRAIN_TIMEOUT=3, VTASKS_WORKER_ID="w")
    told = work()
    [runtime] = runtimes
    assert runtime.config.pools == (PoolConfig(("default",), 7),)
    assert (runtime.config.lease, runtime.config.drain_timeout) == (9.0, 3.0)
    assert runtime.config.worker == "w"
    assert told == "vtasks_asgi worker w: default (7 slots)\n"


def test_options_override_them(runtimes: list[Runtime], change: Change) -> None:
    change(
        VTASKS_QUEUES={"a": {}, "b": {"worker_concurrency": 2}, "c": {}},
        TASKS={
            "default": {
                "BACKEND": "vtasks_asgi.backends.database.DatabaseTaskBackend",
                "QUEUES": ["a", "b", "c"],
            }
        },
    )
    work("--queue", "a", "--queue", "b", "--concurrency", "3", "--id", "me")
    [runtime] = runtimes
    assert runtime.config.pools == (PoolConfig(("a",), 3), PoolConfig(("b",), 2))
    assert runtime.config.worker == "me"


def test_batch_queues_are_consumed_like_others(runtimes: list[Runtime], change: Change) -> None:
    batch = {"count": 10, "timeout": 1.0}
    change(
        VTASKS_QUEUES={"default": {}, "own": {"worker_concurrency": 2, "batch": batch}},
        VTASKS_BATCH_QUEUES={"b": batch},
    )
    work()
    work("--queue=b")
    assert runtimes[0].config.pools == (PoolConfig(("default", "b"), 20), PoolConfig(("own",), 2))
    assert set(runtimes[0].config.batches) == {"own", "b"}
    assert runtimes[1].config.pools == (PoolConfig(("b",), 20),)


def test_a_batch_queue_of_a_task_nobody_knows_fails_the_start(
    runtimes: list[Runtime], change: Change
) -> None:
    change(VTASKS_BATCH_QUEUES={"b": {"count": 10, "timeout": 1.0, "task": "no.such"}})
    with pytest.raises(CommandError, match=r"the batch queue 'b' has the task 'no\.such'"):
        work()
    assert runtimes == []


def test_a_queue_named_twice_is_consumed_once(runtimes: list[Runtime]) -> None:
    work("--queue", "default", "--queue", "default")
    assert runtimes[0].config.queues == ("default",)


def test_every_worker_has_an_id_of_its_own(runtimes: list[Runtime]) -> None:
    work()
    work()
    assert runtimes[0].config.worker != runtimes[1].config.worker


@pytest.mark.parametrize("scheduler", [True, False])
def test_the_scheduler_runs_only_if_asked_for(
    scheduler: bool, runtimes: list[Runtime], change: Change
) -> None:
    change(VTASKS_SCHEDULE={"x": {"task": sample.add.module_path, "schedule": 60, "args": [1]}})
    work(*(["--scheduler"] if scheduler else []))
    assert bool(runtimes[0].health().ticks == {} and runtimes[0]._cron) is scheduler


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--concurrency", "0"], "--concurrency must be at least 1"),
        (["--concurrency", "-3"], "--concurrency must be at least 1"),
        (["--concurrency", "many"], "invalid int value: 'many'"),
        (["--queue", "mial"], "queue 'mial' is not one of backend 'default'.*VTASKS_QUEUES"),
        (["--backend", "nowhere"], "nowhere"),
        (["--metrics-port", "99999"], "--metrics-port"),
        (["--metrics-port", "-1"], "--metrics-port"),
        (["--metrics-port", "http"], "invalid int value"),
        (["--health-check-file", "/no/such/folder/file"], "VTASKS_HEALTH_CHECK_FILE.*existing dir"),
        (["--concurency", "3"], "unrecognized arguments|unrecognised"),
    ],
    ids=str,
)
def test_wrong_options_are_named(options: list[str], error: str, runtimes: list[Runtime]) -> None:
    with pytest.raises(CommandError, match=error):
        work(*options)


def test_wrong_settings_are_named(runtimes: list[Runtime], change: Change) -> None:
    change(VTASKS_SCHEDULE={"nightly": {"task": "a.b", "schedule": 5}})
    with pytest.raises(CommandError, match=r"VTASKS_SCHEDULE\['nightly'\]"):
        work("--scheduler")
    assert not runtimes


def test_a_backend_without_worker_is_refused(runtimes: list[Runtime], change: Change) -> None:
    change(TASKS={"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}})
    with pytest.raises(CommandError, match="has no worker"):
        work()


def test_a_runtime_that_dies_is_exit_code_70(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(self: Runtime) -> None:
        raise ValueError("a bug of ours")

    monkeypatch.setattr(Runtime, "run", run)
    with pytest.raises(SystemExit) as exited:
        work()
    assert exited.value.code == runworker.EXIT_DIED == 70


def test_a_second_signal_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(self: Runtime) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    monkeypatch.setattr(Runtime, "run", run)
    with pytest.raises(SystemExit) as exited:
        work()
    assert exited.value.code == runworker.EXIT_INTERRUPTED == 130


def test_health_file_and_metrics_port_serve_while_it_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, served, port = tmp_path / "healthy", [], free_port()
    written = asyncio.Event()
    original = HealthFile.beat

    def beat(self: HealthFile) -> bool:
        written.set()
        return original(self)

    async def run(self: Runtime) -> None:
        async with asyncio.timeout(20.0):
            await written.wait()
            served.append(await asyncio.to_thread(get, port, "/vtasks/health/ready"))
            served.append(file.read_text()[:2].encode())

    monkeypatch.setattr(HealthFile, "beat", beat)
    monkeypatch.setattr(Runtime, "health", lambda self: Health(Status.OK))
    monkeypatch.setattr(Runtime, "run", run)
    work("--metrics-port", str(port), "--health-check-file", str(file))
    assert served == [b'{"status":"ok"}', b"ok"]
    assert not file.exists(), "it removes its file at the end"


def get(port: int, path: str) -> bytes:
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
        return bytes(response.read())


# -- as a process


@contextmanager
def worker(*options: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    manage = (
        "import sys; from django.core.management import execute_from_command_line as execute;"
        " execute(['manage.py', *sys.argv[1:]])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", manage, "runworker", *options],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "VTASKS_IMPORTS": "tests.django.sample",
            **environment,
        },
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    _, stderr = process.communicate(timeout=30)
    return process.returncode, stderr


@pytest.mark.slow
@pytest.mark.server
def test_it_works_until_sigterm_and_exits_with_0() -> None:
    results = [sample.add.enqueue(n, 1) for n in range(3)]
    with worker("--id", "process") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "vtasks_asgi worker process: default (20 slots)\n"
        while rows()["results"] < 3:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        code, _ = ended(process)
    assert code == 0
    for result in results:
        result.refresh()
    assert [result.return_value for result in results] == [1, 2, 3]
    assert {id for result in results for id in result.worker_ids} == {"process"}


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize(
    ("options", "environment", "error"),
    [
        (["--concurrency", "0"], {}, "--concurrency must be at least 1"),
        ([], {"VTASKS_LEASE": "soon"}, "VTASKS_LEASE must be a number of seconds"),
        ([], {"VTASKS_IMPORTS": "no.such.module"}, "VTASKS_IMPORTS names 'no.such.module'"),
    ],
    ids=str,
)
def test_wrong_configuration_is_exit_code_1(
    options: list[str], environment: dict[str, str], error: str
) -> None:
    with worker(*options, **environment) as process:
        code, stderr = ended(process)
    assert code == 1
    assert error in stderr
    assert "Traceback" not in stderr
