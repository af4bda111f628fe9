"""One task at a time to an idle worker: ``sides.tasks.stamp`` notes how long it took to start.

``consume`` True: requests to an async view of the all-in-one application, which also executes.
False: a plain script that enqueues, and leaves the executing to another process.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from django.core.asgi import get_asgi_application

from benchmarks.inprocess import get, lifespan
from benchmarks.sides.base import Side
from benchmarks.sides.ledger import arrivals, ledger


async def main(side: Side, params: dict[str, Any]) -> dict[str, Any]:
    if not params["consume"]:
        await _paced(params, lambda: side.enqueue("stamp", time.monotonic_ns()))
        return {}
    arrived = ledger.reaches(params["count"])
    app = side.wrap(get_asgi_application())
    async with lifespan(app):
        await _paced(params, lambda: get(app, "/stamp"))
        await arrived.wait()
    return {"arrivals": arrivals}


async def _paced(params: dict[str, Any], send: Callable[[], Awaitable[object]]) -> None:
    """Pauses of uneven length spread the samples over the worker's polling periods."""
    pauses = random.Random(params["seed"])
    for _ in range(params["count"]):
        await asyncio.sleep(pauses.uniform(*params["gap"]))
        await send()
