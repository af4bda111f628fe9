"""Runs what is enqueued in the test's own process, and lets time pass without waiting for it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import TypedDict, Unpack

from vtasks_asgi import lanes
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.backends.memory import MemoryTaskBackend
from vtasks_asgi.conf import options
from vtasks_asgi.core.clock import SystemClock
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.inline import LEASE, WORKER, Inline, Ran
from vtasks_asgi.results import AnyResult, epoch
from vtasks_asgi.store.base import RESOLUTION, Claim, FullStore
from vtasks_asgi.testing.stores import ADVICE, chosen, looked_into, queues_of


class How(TypedDict, total=False):
    """The options of ``drain``."""

    backend: str | None
    queues: Iterable[str] | None
    advance: timedelta | None
    until: datetime | None
    raise_errors: bool
    limit: int


def drain(**how: Unpack[How]) -> list[AnyResult]:
    """Run whatever is due until nothing is, what the tasks themselves enqueue included.

    One task runs at a time, the one a worker would begin next. Synchronous ones run in this thread
    and its transaction. Batch queues run in batches, however few messages wait.

    Args:
        backend: an alias of ``TASKS``; default ``VTASKS_BACKEND``.
        queues: only these; default all.
        advance: let so much time pass: what is delayed, and retries, run at their time.
        until: the same, up to a point in time. Both need a ``MemoryTaskBackend``, whose clock
            moves; Django's ``timezone.now()`` does not.
        raise_errors: raise the first exception of a task, once its outcome is stored.
        limit: how many runs are too many; default 10,000.

    Returns:
        a result for each attempt, in order, as it was right after it.

    Raises:
        ConfigurationError: the backend cannot be drained here; the message says what can.
        RuntimeError: over the limit, as when a task enqueues itself without end.
    """
    return lanes.run_here(partial(adrain, **how))


async def adrain(
    *,
    backend: str | None = None,
    queues: Iterable[str] | None = None,
    advance: timedelta | None = None,
    until: datetime | None = None,
    raise_errors: bool = False,
    limit: int = 10_000,
) -> list[AnyResult]:
    """``drain`` from a coroutine."""
    found, only = chosen(backend), None if queues is None else list(queues)
    results: list[AnyResult] = []
    with _journey(found, advance, until) as journey:
        async with looked_into(found) as store:
            inline = Inline(found, store, journey.now)
            while True:
                claims, next_due = await _claim(store, only or queues_of(found))
                if not claims and not await inline.sweep() and not journey.go_on(next_due):
                    return results
                for ran in await _run(inline, claims):
                    results += filter(None, [inline.result(ran)])
                    if raise_errors and ran.error:
                        raise ran.error
                if len(results) > limit:
                    raise RuntimeError(f"more than {limit} runs; does a task enqueue itself?")


async def _claim(store: FullStore, queues: Iterable[str]) -> tuple[list[Claim], float | None]:
    """The next to run: one message, or a batch. Else in how many seconds there will be one."""
    later = []
    for queue in queues:
        batch = options().batch_queues.get(queue)
        limit = batch.count if batch else 1
        claimed = await store.claim(queue, limit, worker=WORKER, lease=LEASE)
        while not claimed.claims and claimed.next_due == 0.0:  # look behind what limits hold back
            claimed = await store.claim(queue, limit, worker=WORKER, lease=LEASE)
        if claimed.claims:
            return claimed.claims, None
        if claimed.next_due is not None:
            later.append(claimed.next_due)
    return [], min(later, default=None)


async def _run(inline: Inline, claims: list[Claim]) -> list[Ran]:
    batches = options().batch_queues
    if claims and (batch := batches.get(claims[0].queue)):
        return await inline.run_batch(batch, claims)
    return [await inline.run(claim) for claim in claims]


class _Journey:
    """From one moment to another, by the clock of a memory; nowhere by other clocks."""

    def __init__(self, backend: VTasksBackend, target: float | None) -> None:
        self._clock = backend.clock if isinstance(backend, MemoryTaskBackend) else None
        self._target = target
        self.now = (self._clock or SystemClock()).now

    def go_on(self, next_due: float | None) -> bool:
        """Skip the time until then and say True; at the end skip what is left and say False."""
        if self._clock is None or self._target is None:
            return False
        left = self._target - self.now()
        if next_due is None or next_due > left + RESOLUTION:
            self._clock.advance(left)
            return False
        self._clock.advance(max(next_due, RESOLUTION))
        return True


@contextmanager
def _journey(
    backend: VTasksBackend, advance: timedelta | None, until: datetime | None
) -> Iterator[_Journey]:
    """The clock stands still meanwhile, so that a retry in 60 s is due in exactly 60 s."""
    if not isinstance(backend, MemoryTaskBackend):
        if advance is not None or until is not None:
            raise ConfigurationError(
                f"TASKS[{backend.alias!r}] is told the time by its own server; to travel, {ADVICE}"
            )
        yield _Journey(backend, None)
        return
    with backend.clock.stopped():
        target = backend.clock.now() + (advance or timedelta()).total_seconds()
        yield _Journey(backend, max(target, epoch(until) or 0.0))
