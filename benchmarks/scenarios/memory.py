"""What an idle all-in-one site weighs under the Granian command, all its processes together.

Ours is the project template as it comes, started by its own ``serve.py``; the peer is a site of the
same Django apps, middleware and schedule under the same Granian options, and so is ours once more.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from benchmarks.bench import Bench, Process, WrongCount
from benchmarks.processes import total
from benchmarks.scenario import OURS, PEER, Metric, Sample, Scenario, Side, Sizes, Target
from benchmarks.server import Server, free_port, serving

TWIN = Side("ours, peer's site", "ours", {"BENCH_SITE": "yes"})
REQUESTS = 100


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
    settings = {"DJANGO_SETTINGS_MODULE": f"benchmarks.sides.{side.package}.site"}
    full = Side(f"{side.name} site", side.package, settings)
    database = await bench.database(full)
    async with serving(bench, full, database) as server:
        yield server
    bench.discard(database)


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


SCENARIO = Scenario(
    name="memory-idle",
    title="memory of all processes of an idle all-in-one site under the Granian command",
    measure=measure,
    sides=(PEER, OURS, TWIN),
    metrics=(
        Metric("pss", "MiB", 1, compared=True),
        Metric("private", "MiB", 1, compared=True),
        Metric("used", f"MiB after {REQUESTS} pages", 1),
        Metric("processes", ""),
    ),
    sizes={"peer": {"settle": 6.0}, "ours": {"settle": 6.0}},
    smoke={"peer": {"settle": 0.5}, "ours": {"settle": 0.5}},
    targets=(Target("pss", 75.0, at_least=False),),
)
