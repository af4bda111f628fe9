"""Running a package's blocking worker beside the loop, which then has nothing to do but wait."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


@asynccontextmanager
async def in_thread(run: Callable[[], object], stop: Callable[[], object]) -> AsyncIterator[None]:
    """``run`` in a thread; leaving calls ``stop`` and waits until ``run`` has returned."""
    thread = threading.Thread(target=run, name="worker", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        await asyncio.to_thread(thread.join)
