"""A process of a measurement, started by the harness and spoken to in JSON lines."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any


class WrongCount(Exception):
    """A side lost, repeated or did not finish work."""


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
        try:
            async with asyncio.timeout(timeout):
                while line := await self._process.stdout.readline():
                    said: dict[str, Any] = json.loads(line)
                    self.executed = said.get("executed", self.executed)
                    if said.pop("event") == name:
                        return said
        except TimeoutError:
            late = f"no {name!r} within {timeout:g} s; the log ends with"
            raise WrongCount(f"{late}\n{self.log_tail()}") from None
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
