"""Lone runs: messages of a batch queue whose worker vanished run one by one, half of the time.

After a crash of a worker with much in hand there are many, and the queue has other messages too.
"""

import math
from collections.abc import Iterable

from vtasks_asgi.core.clock import Clock
from vtasks_asgi.runtime.execute import Executions
from vtasks_asgi.store.base import Claim

#: Seconds between two lone runs at least.
LEAST_PAUSE = 0.01


class LoneRuns:
    """Of one queue in one runtime."""

    def __init__(self, executions: Executions, clock: Clock) -> None:
        self._executions = executions
        self._clock = clock
        self._began = self._turn = -math.inf
        self._took = 0.0

    @property
    def due(self) -> bool:
        """May one begin?"""
        return self._clock.monotonic() >= self._turn

    def begin(self) -> None:
        self._began = self._clock.monotonic()

    def end(self) -> None:
        """If one had begun, it is over; the next may begin when others have had as much time."""
        if self._began > -math.inf:
            now = self._clock.monotonic()
            self._took, self._began = now - self._began, -math.inf
            self._turn = now + self._took

    def put_off(self, claims: Iterable[Claim], *, first: int = 0) -> None:
        """Give these back until their turns come; ``first`` is how many are before them."""
        wait = max(self._turn - self._clock.monotonic(), 0.0)
        pause = max(2 * self._took, LEAST_PAUSE)
        for number, claim in enumerate(claims, first):
            self._executions.release([claim], wait + number * pause)
