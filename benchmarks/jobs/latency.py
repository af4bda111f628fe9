"""From before ``aenqueue`` to the first line of the task, one at a time on an idle worker.

``consume`` False leaves the executing to another process.
"""

import asyncio
import random
import time
from contextlib import nullcontext
from typing import Any

from benchmarks.sides.base import Side
from benchmarks.sides.ledger import arrivals, ledger
from benchmarks.sides.tasks import stamp


async def main(side: Side, params: dict[str, Any]) -> dict[str, Any]:
    arrived = ledger.reaches(params["count"])
    low, high = params["gap"]
    pauses = random.Random(params["seed"])
    async with side.worker(params["concurrency"]) if params["consume"] else nullcontext():
        for _ in range(params["count"]):
            await asyncio.sleep(pauses.uniform(low, high))
            await stamp.aenqueue(time.monotonic_ns())
        if params["consume"]:
            await asyncio.wait_for(arrived.wait(), params["timeout"])
    return {"arrivals": arrivals}
