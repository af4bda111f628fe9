"""What every schedule answers. All times are seconds since the epoch (UTC)."""

import math
from abc import ABC, abstractmethod


class Schedule(ABC):
    """An immutable rule that names instants, its boundaries; equal rules name the same ones."""

    __slots__ = ()

    @abstractmethod
    def last_boundary(self, now: float) -> float | None:
        """The latest boundary at or before ``now``, None if there was none."""

    @abstractmethod
    def next_boundary(self, now: float) -> float:
        """The first boundary after ``now``, infinity if there is none."""

    def boundaries(self, after: float, until: float, limit: int) -> list[float]:
        """The latest ``limit`` boundaries later than ``after`` and not later than ``until``.

        Oldest first. The work grows with ``limit``, not with the time between the two.
        """
        found: list[float] = []
        at = self.last_boundary(until)
        while at is not None and at > after and len(found) < limit:
            found.append(at)
            at = self.last_boundary(math.nextafter(at, -math.inf))
        return found[::-1]
