"""Everything that happens is told here once; metrics, logs and health only listen.

A listener overrides the methods it wants; the hub calls nobody else, so an event nobody listens to
costs a list lookup. A listener that raises is reported once and never harms the runtime.
Durations and ages are in seconds.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from vtasks_asgi.core.outcome import Dead, Outcome
from vtasks_asgi.store.base import Claim, QueueStats, Ticked
from vtasks_asgi.store.control import Cancellation

logger = logging.getLogger("vtasks_asgi")


class Listener:
    """Override what you care about. Methods are called on the loop and must not block."""

    def submitted(self, task: str, queue: str, count: int) -> None:
        """``count`` calls of a task were accepted by the store (from any thread)."""

    def duplicate(self, task: str, queue: str, count: int) -> None:
        """``count`` calls of a task were not stored: their unique keys are held (any thread)."""

    def claimed(self, queue: str, claims: Sequence[Claim]) -> None:
        """A claim round-trip ended; ``claims`` may be empty."""

    def started(self, claim: Claim, task: str, waited: float) -> None:
        """A run begins, ``waited`` seconds after the message was due."""

    def finished(self, claim: Claim, task: str, outcome: Outcome, seconds: float) -> None:
        """A run ended; its settlement is on its way."""

    def batch_ended(
        self, queue: str, task: str, size: int, seconds: float, error: BaseException | None
    ) -> None:
        """A call of a batch's function with ``size`` messages returned, or raised ``error``."""

    def given_up(self, claim: Claim, task: str, outcome: Dead) -> None:
        """A message was dead-lettered without a run that chose so: undecodable, expired, or worker
        lost, or cancelled when it was to wait again."""

    def parked(self, claim: Claim, task: str, seconds: float) -> None:
        """A message waits for so long, for nobody here knows its task; no attempt was used."""

    def left_behind(self, claim: Claim, task: str, stack: str) -> None:
        """A run did not end though its time was over; its slot is free, and it may run on."""

    def cancelled(self, claims: Sequence[Claim]) -> None:
        """Somebody has asked for these, which are in hand, to end."""

    def cancel_asked(self, cancellation: Cancellation) -> None:
        """Messages were cancelled from this process, and this became of them (any thread)."""

    def given_back(self, task: str, queue: str, count: int) -> None:
        """``count`` claims were put back without an attempt: their task is paused."""

    def queue_paused(self, queue: str, paused: bool) -> None:
        """A queue that is consumed here was found paused, or no longer so."""

    def task_paused(self, task: str, paused: bool) -> None:
        """A task was found paused, or no longer so."""

    def stale(self, claims: Sequence[Claim]) -> None:
        """Settlements or renewals refused: the leases had passed to somebody else."""

    def reclaimed(self, queue: str, claims: Sequence[Claim]) -> None:
        """Expired leases were taken over."""

    def evicted(self, queue: str, count: int) -> None:
        """Dead letters dropped because the queue was over its cap."""

    def tick(self, schedule: str, lateness: float, ticked: Ticked) -> None:
        """A schedule's tick was handled: ``SKIPPED`` when its unique key is held, ``LATE`` when
        another process had it."""

    def sampled(self, stats: dict[str, QueueStats]) -> None:
        """The periodic look at the queues."""

    def loop_lag(self, seconds: float, culprit: str | None) -> None:
        """The event loop did not answer for so long; ``culprit`` is the task then running."""

    def service_failed(self, service: str, error: BaseException) -> None:
        """A supervised service raised and will be restarted."""

    def service_recovered(self, service: str) -> None:
        """A service that had failed works again."""


class Events:
    """The hub: ``events.finished(...)`` calls that method of every listener overriding it."""

    def __init__(self, listeners: Sequence[Listener] = ()) -> None:
        self._listeners: list[Listener] = []
        self._broken: set[tuple[str, str]] = set()
        self._rewire()
        for listener in listeners:
            self.add(listener)

    def add(self, listener: Listener) -> None:
        self._listeners.append(listener)
        self._rewire()

    def remove(self, listener: Listener) -> None:
        self._listeners.remove(listener)
        self._rewire()

    def _rewire(self) -> None:
        for name in _EVENTS:
            heard = [
                getattr(each, name)
                for each in self._listeners
                if getattr(type(each), name) is not getattr(Listener, name)
            ]
            setattr(self, name, self._teller(name, heard))

    def _teller(self, name: str, heard: list[Callable[..., None]]) -> Callable[..., None]:
        if not heard:
            return _nobody
        if len(heard) == 1:
            return self._lone_teller(name, heard[0])

        def tell(*args: Any) -> None:
            for method in heard:
                try:
                    method(*args)
                except Exception:
                    self._report(name, method)

        return tell

    def _lone_teller(self, name: str, method: Callable[..., None]) -> Callable[..., None]:
        def tell(*args: Any) -> None:
            try:
                method(*args)
            except Exception:
                self._report(name, method)

        return tell

    def _report(self, name: str, method: Callable[..., None]) -> None:
        key = (name, method.__qualname__)
        if key not in self._broken:
            self._broken.add(key)
            logger.exception("Listener %s failed; further failures stay silent", key[1])

    # Filled in by _rewire; declared so that callers are checked.
    submitted: Callable[[str, str, int], None]
    duplicate: Callable[[str, str, int], None]
    claimed: Callable[[str, Sequence[Claim]], None]
    started: Callable[[Claim, str, float], None]
    finished: Callable[[Claim, str, Outcome, float], None]
    batch_ended: Callable[[str, str, int, float, BaseException | None], None]
    given_up: Callable[[Claim, str, Dead], None]
    parked: Callable[[Claim, str, float], None]
    left_behind: Callable[[Claim, str, str], None]
    cancelled: Callable[[Sequence[Claim]], None]
    cancel_asked: Callable[[Cancellation], None]
    given_back: Callable[[str, str, int], None]
    queue_paused: Callable[[str, bool], None]
    task_paused: Callable[[str, bool], None]
    stale: Callable[[Sequence[Claim]], None]
    reclaimed: Callable[[str, Sequence[Claim]], None]
    evicted: Callable[[str, int], None]
    tick: Callable[[str, float, Ticked], None]
    sampled: Callable[[dict[str, QueueStats]], None]
    loop_lag: Callable[[float, str | None], None]
    service_failed: Callable[[str, BaseException], None]
    service_recovered: Callable[[str], None]


def _nobody(*args: Any) -> None:
    """Told to no one."""


_EVENTS = tuple(name for name in vars(Listener) if not name.startswith("_"))

#: The process-wide hub: one process, one set of metrics.
hub = Events()
