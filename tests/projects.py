"""A Django project in a folder of its own, and the processes at work in it.

``with project(tmp_path) as it`` gives one with a migrated SQLite file; what is started in it is
ended with it, and on failure every log is shown.
"""

import atexit
import functools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tests.brokers import Broker, SQLiteFile
from tests.ledger import Book, Fault, Ledger, Verdict, judge
from tests.processes import PATIENCE, ROOT, Client, Process, Server, free_port, wait_for

SHOWN_OF_A_LOG = 20_000

#: VTASKS_SCHEDULE with a tick each second, late ones included.
EVERY_SECOND = (
    '{"each": {"task": "tests.project.tasks.beat", "schedule": 1, "args": ["each"],'
    ' "misfire": "all"}}'
)
_CLIENT = "import django; django.setup(); from tests.project.client import serve; serve()"


class Project:
    """A folder with a ledger, gates and logs, and the processes at work in it."""

    def __init__(
        self, folder: Path, broker: Broker, environment: dict[str, object], *, migrated: bool
    ) -> None:
        self.folder = folder
        self.broker = broker
        for name in ("logs", "gates", "ledger"):
            (folder / name).mkdir()
        self.ledger = Ledger(folder / "ledger")
        self.environment = _environment(folder, broker, environment)
        self.processes: list[Process] = []
        if migrated and isinstance(broker, SQLiteFile):
            shutil.copy(_blank_database(), broker.file)
        elif migrated and broker.migrates():
            self.manage("migrate", "-v0")

    # -- starting

    def worker(self, *options: str, ready: bool = True, **environment: object) -> Process:
        """``manage.py runworker``; ``ready`` waits until it says that it works."""
        command = [*_python("-m", "django"), "runworker", *options]
        process = self._start(Process, "worker", command, environment)
        if ready:
            wait_for(lambda: self._greeted(process), f"{process.name} greets")
        return process

    def _greeted(self, process: Process) -> bool:
        assert process.alive, f"{process.name} ended with {process.popen.returncode}"
        return "vtasks_asgi worker" in process.text

    def granian(
        self,
        *options: str,
        interface: str = "asgi",
        loop: Literal["asyncio", "uvloop"] = "uvloop",
        ready: bool = True,
        **environment: object,
    ) -> Server:
        """Granian with the wrapped application; ``ready`` waits for the readiness page."""
        port = free_port()
        command = [*_python("-m", "granian"), "tests.project.asgi:application"]
        command += ["--port", str(port), "--interface", interface, "--loop", loop, *options]
        server = self._start(Server, "granian", command, environment)
        server.port = port
        if ready:
            server.wait_status("/vtasks/health/ready", 200)
            server.worker()
        return server

    def client(self, **environment: object) -> Client:
        """A Django process that enqueues and looks; see ``tests.project.client``."""
        return self._start(Client, "client", _python("-c", _CLIENT), environment)

    def manage(self, *arguments: str) -> None:
        """Run a management command to its end."""
        process = self._start(Process, "manage", [*_python("-m", "django"), *arguments], {})
        assert process.wait() == 0, process.text

    def _start[P: Process](
        self, kind: type[P], name: str, command: list[str], more: dict[str, object]
    ) -> P:
        number = sum(1 for process in self.processes if process.name.startswith(name))
        environment = self.environment | {key: str(value) for key, value in more.items()}
        process = kind(f"{name}-{number}", command, self.folder, environment)
        self.processes.append(process)
        return process

    # -- looking

    def book(self) -> Book:
        """The ledger as it is now."""
        return self.ledger.read()

    def open_gate(self, name: str) -> None:
        """Let a gated task or a busy view go on."""
        (self.folder / "gates" / name).touch()

    def rows(self, table: str = "message") -> list[dict[str, Any]]:
        """A table of the store, read past all of its code; bodies left out."""
        return self.broker.rows(table)

    def row(self, uid: str) -> dict[str, Any]:
        """One live message."""
        (row,) = (row for row in self.rows() if row["uid"] == uid)
        return row

    def rests(self, silence: float, timeout: float = PATIENCE) -> bool:
        """Does the queue come to rest: no message left, and none anew for ``silence`` seconds?"""
        deadline = time.monotonic() + timeout
        quiet_since = time.monotonic()
        while time.monotonic() < deadline:
            if self.rows():
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > silence:
                return True
            time.sleep(0.1)
        return False

    def verdict(
        self,
        *faults: Fault,
        silence: float = 1.0,
        timeout: float = PATIENCE,
        also: Sequence[str] = (),
        must_hit: bool = True,
    ) -> Verdict:
        """Let the queue come to rest, then count; see ``tests.ledger.judge``."""
        quiet = self.rests(silence, timeout)
        return self.judged(*faults, quiet=quiet, also=also, must_hit=must_hit)

    def judged(
        self, *faults: Fault, quiet: bool, also: Sequence[str] = (), must_hit: bool = True
    ) -> Verdict:
        """Count what there is now, and tell it on standard error."""
        verdict = judge(self.book(), faults, quiet=quiet, also=also, must_hit=must_hit)
        sys.stderr.write(f"{verdict}\n")
        return verdict

    def complaints(self, *allowed: str) -> list[str]:
        """Log lines of any process that no healthy run has, but for those with these texts."""
        words = ("Traceback", "is locked", "was never awaited", "CRITICAL", "ERROR")
        return [
            f"{process.name}: {line}"
            for process in self.processes
            for line in process.text.splitlines()
            if any(word in line for word in words) and not any(text in line for text in allowed)
        ]

    # -- the end

    def close(self) -> None:
        """kill -9 everything that still runs."""
        for process in self.processes:
            process.end()

    def show_logs(self) -> None:
        """Every log, for the report of a failed test."""
        for process in self.processes:
            sys.stderr.write(f"--- {process.name} ({process.pid})\n")
            sys.stderr.write(process.text[-SHOWN_OF_A_LOG:])


@contextmanager
def project(
    folder: Path, broker: Broker | None = None, *, migrated: bool = True, **environment: object
) -> Iterator[Project]:
    """A project in that folder; the environment is that of all its processes.

    Its queue is in ``broker``, by default a SQLite file in the folder. ``MUTANT`` breaks the
    package inside the processes only, for a positive control; see ``tests.project.mutants``.
    """
    broker = broker or SQLiteFile(folder / "db.sqlite3")
    it = Project(folder, broker, dict(environment), migrated=migrated)
    try:
        yield it
    except BaseException:
        it.show_logs()
        raise
    finally:
        it.close()


def _python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def _environment(folder: Path, broker: Broker, more: dict[str, object]) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("VTASKS_")}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "tests.project.settings",
        "PROJECT_FOLDER": str(folder),
        **{key: str(value) for key, value in (broker.environment() | more).items()},
    }


@functools.cache
def _blank_database() -> Path:
    """A migrated SQLite file, made once a session and copied into each project."""
    folder = Path(tempfile.mkdtemp(prefix="vtasks-blank-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    broker = SQLiteFile(folder / "db.sqlite3")
    it = Project(folder, broker, {}, migrated=False)
    it.manage("migrate", "-v0")
    it.close()
    return broker.file
