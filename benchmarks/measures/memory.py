"""What an idle all-in-one site weighs under the Granian command, all its processes together.

Ours is the project template as it comes, started by its own ``serve.py``; the peer is a site of the
same Django apps, middleware and schedule under the same Granian options, and so is ours once more.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from benchmarks.bench import Bench
from benchmarks.catalogue import OURS
from benchmarks.process import Process, WrongCount
from benchmarks.processes import total
from benchmarks.scenario import Metric, Sample, Sizes
from benchmarks.server import Server, free_port, serving
from benchmarks.side import Side

REQUESTS = 100
METRICS = (
    Metric("pss", "MiB", 1, compared=True, less=True),
    Metric("private", "MiB", 1, compared=True, less=True),
    Metric("used", f"MiB after {REQUESTS} pages", 1),
    Metric("processes", ""),
)


async def measure(bench: Bench, side: Side, sizes: Sizes) -> Sample:
    opened = _template(bench, side) if side is OURS else _site(bench, side)
    async with opened as server:
        await asyncio.sleep(sizes["settle"])
        idle = total(server.process.pid)
        for _ in range(REQUESTS):
            await server.get("/admin/login/")
        await asyncio.sleep(sizes["settle"] / 2)
        used = total(server.process.pid)
    return {**idle, "used": used["pss"]}


@contextlib.asynccontextmanager
async def _site(bench: Bench, side: Side) -> AsyncIterator[Server]:
    """The same full site on either side."""
    settings = {"DJANGO_SETTINGS_MODULE": "benchmarks.sides.site"}
    full = replace(side, env=settings)
    async with bench.place(full) as place, serving(bench, full, place) as server:
        yield server


@contextlib.asynccontextmanager
async def _template(bench: Bench, side: Side) -> AsyncIterator[Server]:
    """A fresh project from our template, in production settings."""
    project = bench.fresh_path("project")
    await _completed(
        await bench.spawn(("-m", "vtasks_asgi", "startproject", "weighed", str(project)), side)
    )
    port = free_port()
    env = {
        "DEBUG": "false",
        "SECRET_KEY": "benchmarks-only",
        "SITE_URL": f"http://127.0.0.1:{port}",
        "LOG_LEVEL": "WARNING",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    serve = ("serve.py", "--port", str(port), "--loop", "uvloop", "--log-level", "warning")
    process = await bench.spawn(serve, Side(side.name, side.package, env), cwd=project)
    server = Server(process, port)
    try:
        await server.ready("/vtasks/health/ready", 60)
        yield server
    finally:
        await process.stop(30)


async def _completed(process: Process) -> None:
    async with process:
        if not await process.ended(60) or process.returncode:
            raise WrongCount(f"the template could not be used:\n{process.log_tail()}")
