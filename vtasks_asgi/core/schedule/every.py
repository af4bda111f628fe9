"""A fixed period, counted from the epoch so that all processes agree without talking."""

from dataclasses import dataclass

from vtasks_asgi.core.schedule.base import Schedule

MIN_SECONDS = 1
MAX_SECONDS = 366 * 86400


@dataclass(frozen=True, slots=True)
class Every(Schedule):
    """Boundaries are the multiples of ``seconds`` since the epoch (1970-01-01 00:00 UTC).

    ``Every(3600)`` ticks at each full hour of UTC, whenever the process started. The period is
    rounded to whole microseconds, for a finer grain does not survive in stores.

    Raises:
        ValueError: not a number from 1 second to 366 days.
    """

    seconds: float

    def __post_init__(self) -> None:
        if isinstance(self.seconds, bool) or not isinstance(self.seconds, int | float):
            raise ValueError(f"a period is a number of seconds, not {self.seconds!r:.60}")
        if not MIN_SECONDS <= self.seconds <= MAX_SECONDS:  # NaN and infinity fail this too
            raise ValueError(
                f"a period of {self.seconds!r:.60} seconds is out of range; use {MIN_SECONDS} to"
                f" {MAX_SECONDS} (366 days), or a cron expression"
            )

    def last_boundary(self, now: float) -> float:
        return self._boundary(self._count(now))

    def next_boundary(self, now: float) -> float:
        return self._boundary(self._count(now) + 1)

    def _boundary(self, count: int) -> float:
        return count * self._microseconds / 1_000_000

    def _count(self, now: float) -> int:
        """How many periods have ended by ``now``; floats may put the guess one off."""
        count = int(now * 1_000_000) // self._microseconds
        while self._boundary(count) > now:
            count -= 1
        while self._boundary(count + 1) <= now:
            count += 1
        return count

    @property
    def _microseconds(self) -> int:
        return round(self.seconds * 1_000_000)
