"""Run a worker until told to stop, reporting progress for whoever adds up several of them.

With ``hold`` it waits for a first order, so that several can be started at the same moment.
"""

import asyncio
import sys
import time
from typing import Any

from benchmarks.child import say
from benchmarks.jobs.cpu import cpu_seconds
from benchmarks.sides.base import Side
from benchmarks.sides.ledger import arrivals, ledger

#: Seconds between two reports.
REPORT = 0.05


async def _report() -> None:
    while True:
        say("progress", executed=ledger.executed)
        await asyncio.sleep(REPORT)


async def _orders() -> asyncio.StreamReader:
    """Stdin; every line, and its end, is an order to go on to the next thing."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def main(side: Side, params: dict[str, Any]) -> dict[str, Any]:
    orders = await _orders()
    if params.get("hold"):
        say("ready")
        await orders.readline()
    cpu, begin = cpu_seconds(), time.perf_counter()
    async with side.worker(params["concurrency"]):
        reports = asyncio.create_task(_report())
        await orders.readline()
        reports.cancel()
        cpu = cpu_seconds() - cpu
    facts = {"begin": begin, "last": ledger.last, "cpu": cpu, "arrivals": arrivals}
    return ledger.counts() | facts
