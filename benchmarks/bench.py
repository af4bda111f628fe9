"""Processes and databases: every measurement runs in processes and a file of its own."""

import asyncio
import contextlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parent.parent


class WrongCount(Exception):
    """A side lost, repeated or did not finish work."""


class SideLike(Protocol):
    """What a process needs to know of a side."""

    @property
    def name(self) -> str: ...
    @property
    def package(self) -> str: ...
    @property
    def env(self) -> Any: ...


class Process:
    """A child that talks JSON lines; ``async with`` ends it, kindly first."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self.executed = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def event(self, name: str, timeout: float) -> dict[str, Any]:
        """The next event called ``name``; progress is noted on the way."""
        assert self._process.stdout is not None
        async with asyncio.timeout(timeout):
            while line := await self._process.stdout.readline():
                said: dict[str, Any] = json.loads(line)
                self.executed = said.get("executed", self.executed)
                if said.pop("event") == name:
                    return said
        raise WrongCount(f"the process ended before {name!r}:\n{self.log_tail()}")

    async def order(self) -> None:
        """Tell it to go on: to begin, when it holds, and then to finish."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        await self._process.stdin.drain()

    def log_tail(self, size: int = 3_000) -> str:
        return self._log.read_text(errors="replace")[-size:]

    async def __aenter__(self) -> "Process":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            if exc_info[0]:
                self._process.kill()
        if not await self.ended(10.0):
            await self.stop(10.0)

    async def stop(self, timeout: float) -> None:
        """Ask it to end with SIGTERM, as a supervisor would; SIGKILL after ``timeout`` seconds."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
            if not await self.ended(timeout):
                self._process.kill()
        await self._process.wait()

    async def ended(self, timeout: float) -> bool:
        """Has it ended, within so many seconds?"""
        try:
            await asyncio.wait_for(self._process.wait(), timeout)
        except TimeoutError:
            return False
        return True


class Bench:
    """A scratch directory, a migrated database a side, and the means to start processes.

    ``patience`` is how many seconds any job may take.
    """

    def __init__(self, workdir: Path, *, patience: float = 300.0) -> None:
        self.workdir = workdir
        self._patience = patience
        self._serial = 0
        self._templates: dict[tuple[str, int], Path] = {}

    async def database(self, side: SideLike) -> Path:
        """A fresh migrated file."""
        return self.copy(await self._template(side, 0))

    async def preloaded(self, side: SideLike, count: int) -> Path:
        """A migrated file with ``count`` no-ops waiting, made once and then copied."""
        return self.copy(await self._template(side, count))

    async def _template(self, side: SideLike, count: int) -> Path:
        key = (side.name, count)
        if key not in self._templates:
            if count:
                template = await self.database(side)
                await self.run("preload", side, template, count=count)
            else:
                template = self.fresh_path("sqlite3")
                await self.run("migrate", side, template)
            self._templates[key] = template
        return self._templates[key]

    def copy(self, database: Path) -> Path:
        """A copy of a database nobody has open, with its write-ahead log if it has one."""
        copy = self.fresh_path("sqlite3")
        for suffix in ("", "-wal"):
            if (source := Path(f"{database}{suffix}")).exists():
                shutil.copyfile(source, f"{copy}{suffix}")
        os.sync()  # what copying and the side before left to be written is nobody's burden
        return copy

    def discard(self, database: Path) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{database}{suffix}").unlink(missing_ok=True)

    async def start(self, job: str, side: SideLike, database: Path, **params: Any) -> Process:
        """A process doing ``job``."""
        command = ("-m", "benchmarks.child", job, side.package, json.dumps(params))
        return await self.spawn(command, side, database)

    async def run(self, job: str, side: SideLike, database: Path, **params: Any) -> dict[str, Any]:
        """Do ``job`` to its end; what it reported."""
        async with await self.start(job, side, database, **params) as process:
            return await process.event("result", self._patience)

    async def spawn(
        self,
        arguments: tuple[str, ...],
        side: SideLike,
        database: Path | None = None,
        cwd: Path = ROOT,
    ) -> Process:
        """Python with ``arguments``, in the environment of a side."""
        log = self.fresh_path("log")
        env = {
            **os.environ,
            "BENCH_DATABASE": str(database),
            "DJANGO_SETTINGS_MODULE": f"benchmarks.sides.{side.package}.settings",
            "PYTHONPATH": str(ROOT),
            **side.env,
        }
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env=env,
                cwd=cwd,
                limit=64 * 1024 * 1024,
            )
        return Process(process, log)

    def fresh_path(self, kind: str) -> Path:
        """A name nobody uses yet."""
        self._serial += 1
        return self.workdir / f"{self._serial}.{kind}"


def conserved(side: str, said: dict[str, Any], count: int) -> None:
    """Every number from 0 to ``count`` was executed, and executed once.

    Raises:
        WrongCount: with what was seen and what was due.
    """
    due = {
        "executed": count,
        "total": count * (count - 1) // 2,
        "squares": (count - 1) * count * (2 * count - 1) // 6,
    }
    seen = {name: said[name] for name in due}
    if seen != due:
        raise WrongCount(f"{side}: counted {seen}, due {due}")
