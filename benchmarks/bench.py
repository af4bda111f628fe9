"""Processes and places: every measurement runs in processes and in a place of its own."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.engines.engine import Engine
from benchmarks.process import Process, WrongCount
from benchmarks.side import Side

ROOT = Path(__file__).resolve().parent.parent


class Bench:
    """A scratch directory, a running engine, and the means to start processes.

    A place is what the engine keeps apart for one measurement: a file, a database. ``patience`` is
    how many seconds any job may take.
    """

    def __init__(self, workdir: Path, engine: Engine, *, patience: float = 300.0) -> None:
        self.workdir = workdir
        self.engine = engine
        self._patience = patience
        self._serial = count(1)
        self._templates: dict[tuple[str, str], str] = {}

    @asynccontextmanager
    async def place(self, side: Side, **preload: Any) -> AsyncIterator[str]:
        """A fresh place with the side's tables and, if asked for, ``count`` tasks waiting.

        Both are made once and then copied.
        """
        place = self.engine.copy(await self._template(side, preload))
        try:
            yield place
        finally:
            self.engine.discard(place)

    async def _template(self, side: Side, preload: Mapping[str, Any]) -> str:
        # What is enqueued may depend on all settings of a side, the tables only on its apps.
        apps = side.env.get("DJANGO_SETTINGS_MODULE", side.package)
        key = (side.name if preload else apps, json.dumps(preload, sort_keys=True))
        if key not in self._templates:
            if preload:
                template = self.engine.copy(await self._template(side, {}))
                await self.run("preload", side, template, **preload)
                self.engine.settle(template)
            else:
                template = self.engine.fresh()
                if self.engine.migrates:
                    await self.run("migrate", side, template)
            self._templates[key] = template
        return self._templates[key]

    async def start(self, job: str, side: Side, place: str, **params: Any) -> Process:
        """A process doing ``job``."""
        return await self.spawn(("-m", "benchmarks.child", job, json.dumps(params)), side, place)

    async def run(self, job: str, side: Side, place: str, **params: Any) -> dict[str, Any]:
        """Do ``job`` to its end; what it reported."""
        async with await self.start(job, side, place, **params) as process:
            return await process.event("result", self._patience)

    async def spawn(
        self, arguments: tuple[str, ...], side: Side, place: str | None = None, cwd: Path = ROOT
    ) -> Process:
        """Python with ``arguments``, in the environment of a side and, if given, of a place."""
        log = self.fresh_path("log")
        env = {
            **os.environ,
            **(self.engine.env(place) if place else {}),
            "BENCH_STORE": self.engine.name,
            "BENCH_PACKAGE": side.package,
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
        return self.workdir / f"{self.engine.name}-{next(self._serial)}.{kind}"

    def nothing_left(self, side: Side, place: str) -> None:
        """After all was executed, the store must be empty.

        Raises:
            WrongCount: it is not.
        """
        if left := self.engine.pending(side.package, place):
            raise WrongCount(f"{side.name}: {left} messages unfinished after all were executed")


def conserved(side: Side, said: Mapping[str, Any], count: int) -> None:
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
        raise WrongCount(f"{side.name}: counted {seen}, due {due}")
