"""Run a worker until ``count`` preloaded tasks were executed.

The time runs from before the worker is started, in a process with Django set up, to the last
execution. Interpreter start-up and the drain at the end are left out.
"""

import os
import time
from typing import Any

from benchmarks.jobs.cpu import cpu_seconds
from benchmarks.processes import memory, tree
from benchmarks.sides.base import Side
from benchmarks.sides.ledger import ledger


async def main(side: Side, params: dict[str, Any]) -> dict[str, Any]:
    done = ledger.reaches(params["count"])
    cpu, begin = cpu_seconds(), time.perf_counter()
    async with side.worker(params["concurrency"]):
        await done.wait()
        cpu = cpu_seconds() - cpu
        rss = _memory()
    times = {"seconds": ledger.last - begin, "busy": ledger.last - ledger.first}
    return ledger.counts() | times | {"cpu": cpu, "rss": rss}


def _memory() -> float:
    """MiB of the worker: of this process, unless the package has processes of its own."""
    this, *others = tree(os.getpid())
    return sum(memory(pid)["rss"] for pid in others or [this])
