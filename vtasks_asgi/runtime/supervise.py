"""The only restarter: services fail, are reported, wait, and run again.

A traceback once, then a line per restart. Nothing leaves here but cancellation.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.runtime.events import Events

logger = logging.getLogger("vtasks_asgi")

type Service = Callable[[], Awaitable[None]]

BACKOFF_FIRST, BACKOFF_LAST = 0.1, 5.0
#: A service that has run so long since its last failure counts as recovered (seconds).
RECOVERED_AFTER = 2.0


async def supervise(name: str, service: Service, events: Events) -> None:
    """Run a service until it returns or is cancelled; restart it with backoff when it raises."""
    failures = 0
    loop = asyncio.get_running_loop()
    while True:
        recovery = loop.call_later(RECOVERED_AFTER, events.service_recovered, name)
        if not failures:
            recovery.cancel()
        started = loop.time()
        try:
            await service()
        except (Exception, asyncio.CancelledError) as error:
            if asked_to_end():
                raise
            if loop.time() - started > RECOVERED_AFTER:
                failures = 0
            failures += 1
            _report(name, error, failures)
            events.service_failed(name, error)
        else:
            return
        finally:
            recovery.cancel()
        await asyncio.sleep(backoff(failures))


def backoff(failures: int) -> float:
    """Seconds before restart n: doubling to a ceiling, half of it jitter."""
    full = min(BACKOFF_FIRST * 2.0 ** min(failures - 1, 10), BACKOFF_LAST)
    return full * (0.5 + random.random() / 2)


def asked_to_end() -> bool:
    """Was the current task cancelled? A future cancelled elsewhere raises the same error."""
    current = asyncio.current_task()
    return bool(current and current.cancelling())


def _report(name: str, error: BaseException, failures: int) -> None:
    expected = isinstance(error, StoreUnavailable)  # its text says all there is to know
    logger.error(
        "Service %s failed (%d in a row), restarting: %s",
        name,
        failures,
        error,
        exc_info=error if failures == 1 and not expected else None,
    )


async def uninterrupted[T](work: Coroutine[Any, Any, T]) -> T:
    """Await it to its end even when cancelled meanwhile; the cancellation follows then."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


@asynccontextmanager
async def services(running: Mapping[str, Service], events: Events) -> AsyncIterator[None]:
    """Keep these alive for the body's duration, then cancel them and wait for their end."""
    tasks = [
        asyncio.create_task(supervise(name, service, events), name=f"vtasks-{name}")
        for name, service in running.items()
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
