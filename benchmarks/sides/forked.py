"""Running a package's blocking worker as the main thread of a forked process, signals and all."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from benchmarks.sides.ledger import ledger


@asynccontextmanager
async def in_child(run: Callable[[], object], stop: Callable[[int], object]) -> AsyncIterator[None]:
    """``run`` in a child; leaving calls ``stop`` with its process id and waits for its end."""
    child = multiprocessing.get_context("fork").Process(target=run)
    with ledger.counting_forks():
        child.start()
        try:
            yield
        finally:
            stop(child.pid or 0)
            await asyncio.to_thread(child.join)
