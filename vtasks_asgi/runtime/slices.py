"""Time slices: many small steps in a row let the loop do something else now and then."""

import asyncio

from vtasks_asgi.core.clock import Clock, SystemClock

#: Seconds of work before the loop gets a turn: requests come first.
TIME_SLICE = 0.001


class Slices:
    """``await rest()`` after a step, or only once ``spent`` where an await is too dear."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._until = self._clock.monotonic() + TIME_SLICE

    @property
    def spent(self) -> bool:
        return self._clock.monotonic() > self._until

    async def rest(self) -> None:
        """Give the loop a turn if the slice is spent."""
        if self.spent:
            await asyncio.sleep(0)
            self._until = self._clock.monotonic() + TIME_SLICE
