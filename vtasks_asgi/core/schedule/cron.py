"""A cron expression in a time zone, with Debian cron's manners when clocks change.

cronsim says which wall-clock times match; from there to instants is this module's own work:

* A job at fixed times (neither its minute nor its hour starts with ``*``) runs once for each
  matching wall-clock time: when the clock skips it, at the moment of the change; when the clock
  shows it twice, the first time.
* Any other job runs whenever the clock shows a matching time: never when skipped, twice when
  repeated, so that "every ten minutes" stays just that.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from vtasks_asgi.core.schedule.base import Schedule
from vtasks_asgi.core.schedule.crontab import check_expression

_EPOCH = datetime(1970, 1, 1)
_SECOND = timedelta(seconds=1)
# No clock was ever set back by more than a day, nor changed twice within one.
_DAY = 86400


@dataclass(frozen=True, slots=True)
class Cron(Schedule):
    """``expression`` has five fields; ``zone`` is an IANA name. Good for the years 1 to 9999.

    Raises:
        ValueError: the expression is malformed or never matches, or the zone is unknown.
    """

    expression: str
    zone: str = "UTC"
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)
    _fixed: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        expression = check_expression(self.expression)
        minute, hour, *_ = expression.split()
        object.__setattr__(self, "expression", expression)
        object.__setattr__(self, "_zone", load_zone(self.zone))
        object.__setattr__(self, "_fixed", not (minute.startswith("*") or hour.startswith("*")))

    def last_boundary(self, now: float) -> float | None:
        second = math.floor(now)
        wall = self._wall(second)
        # If the clock was set back lately, it has shown times that lie ahead of it now.
        shown = max(0, self._offset(second - _DAY) - self._offset(second))
        found: list[int] = []
        for match in self._matches(wall + timedelta(seconds=shown) + _SECOND, reverse=True):
            found += [instant for instant in self._instants(match) if instant <= second]
            if found and match <= wall:
                break
        return float(max(found)) if found else None

    def next_boundary(self, now: float) -> float:
        second = math.floor(now)
        wall = self._wall(second)
        # If the clock is about to be set back, it will show times again that lie behind it now.
        again = max(0, self._offset(second) - self._offset(second + _DAY))
        found: list[int] = []
        for match in self._matches(wall - timedelta(seconds=again), reverse=False):
            found += [instant for instant in self._instants(match) if instant > second]
            if found and match > wall:
                break
        return float(min(found)) if found else math.inf

    def _matches(self, start: datetime, *, reverse: bool) -> Iterator[datetime]:
        """The matching wall-clock times after ``start``, or before it, nearest first."""
        return CronSim(self.expression, start, reverse=reverse)

    def _instants(self, wall: datetime) -> list[int]:
        """When the clock shows ``wall`` and the job runs: mostly once, sometimes never or twice.

        The offsets before and after a change are those of fold 0 and fold 1 (PEP 495).
        """
        seconds = _seconds(wall - _EPOCH)
        before = _seconds(wall.replace(tzinfo=self._zone).utcoffset())
        after = _seconds(wall.replace(tzinfo=self._zone, fold=1).utcoffset())
        if before == after:
            return [seconds - before]
        if before > after:
            return [seconds - before] if self._fixed else [seconds - before, seconds - after]
        if not self._fixed:
            return []
        # The change lies between the two readings of a time that never was; find its second.
        between = range(seconds - after, seconds - before + 1)
        return [between[bisect_left(between, after, key=self._offset)]]

    def _wall(self, second: int) -> datetime:
        return _EPOCH + timedelta(seconds=second + self._offset(second))

    def _offset(self, second: int) -> int:
        return _seconds(datetime.fromtimestamp(second, self._zone).utcoffset())


def load_zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    Raises:
        ValueError: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # unknown, hostile, a directory
        raise ValueError(
            f"{name!r:.60} is no IANA time zone; use a name such as 'Europe/Berlin' or 'UTC'"
        ) from error


def _seconds(delta: timedelta | None) -> int:
    assert delta is not None
    return delta.days * 86400 + delta.seconds
