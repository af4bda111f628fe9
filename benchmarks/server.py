"""A real Granian for one side: one worker process, uvloop, on a free loopback port."""

import asyncio
import json
import socket
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.bench import Bench
from benchmarks.process import Process
from benchmarks.side import Side

TARGET = "benchmarks.sides.asgi:application"
FLAGS = ("--interface", "asgi", "--workers", "1", "--loop", "uvloop", "--no-ws")


@dataclass(frozen=True, slots=True)
class Server:
    """``process`` is Granian's supervisor, the parent of the worker."""

    process: Process
    port: int

    async def get(self, path: str) -> bytes:
        """The body of a 200 answer."""
        return await asyncio.to_thread(_get, f"http://127.0.0.1:{self.port}{path}")

    async def counts(self) -> dict[str, Any]:
        """What the tasks in that server counted."""
        counted: dict[str, Any] = json.loads(await self.get("/counts"))
        return counted

    async def ready(self, path: str, timeout: float) -> None:
        """Until ``path`` is answered with 200."""
        async with asyncio.timeout(timeout):
            while True:
                try:
                    await self.get(path)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    return


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        body: bytes = answer.read()
        return body


def free_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def serving(bench: Bench, side: Side, place: str) -> AsyncIterator[Server]:
    """Granian with the side's application, answering already."""
    port = free_port()
    where = ("--host", "127.0.0.1", "--port", str(port), "--log-level", "warning")
    process = await bench.spawn(("-m", "granian", *FLAGS, *where, TARGET), side, place)
    server = Server(process, port)
    try:
        await server.ready("/", 30)
        yield server
    finally:
        await process.stop(30)
