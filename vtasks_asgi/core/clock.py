"""Time as an argument: nothing in the runtime asks the system for it directly."""

import time
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
