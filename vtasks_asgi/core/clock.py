"""Time as an argument: nothing in the runtime asks the system for it directly."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Clock(Protocol):
    """Two clocks in one: wall time for people and stores, monotonic time for durations."""

    def now(self) -> float:
        """Seconds since the epoch (UTC)."""
        ...

    def monotonic(self) -> float:
        """Seconds that never step back."""
        ...


class SystemClock:
    """The operating system's clocks, bound directly so that a call costs no Python frame."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class TravelClock:
    """The system's clocks, plus the time it was told to skip; ``stop`` makes both stand still.

    For tests. The system's clock is asked anew each time, so that tools which replace
    ``time.time`` are obeyed.
    """

    def __init__(self) -> None:
        self._ahead = 0.0
        self._stopped: tuple[float, float] | None = None

    def now(self) -> float:
        return (self._stopped[0] if self._stopped else time.time()) + self._ahead

    def monotonic(self) -> float:
        return (self._stopped[1] if self._stopped else time.monotonic()) + self._ahead

    def advance(self, seconds: float) -> None:
        """Skip that much time; it never goes back."""
        self._ahead += max(0.0, seconds)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stand still but for what is skipped; afterwards time goes on from there."""
        before, self._stopped = self._stopped, self._stopped or (time.time(), time.monotonic())
        try:
            yield
        finally:
            self._stopped = before
