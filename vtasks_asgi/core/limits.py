"""How many calls of a key may run at once, and how often one may start: arithmetic only.

Rates are the generic cell rate algorithm (ITU-T I.371, annex A, as virtual scheduling): ``tat``,
the theoretical arrival time, is when the next start would keep an even pace. A start that comes
up to ``TOLERANCE`` before it conforms, and moves it by one interval. So the starts of any window
of the length of n intervals are at most n, and those that fit into the tolerance.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

#: ``run_at`` of a delayed message that no time makes due: it waits for a slot of its key, or its
#: turn. Later than any date there is, and like the others in seconds since the epoch.
HELD = 1e12

#: Seconds that a start may come early, so that what is late at a worker can be caught up.
TOLERANCE = 0.05
#: Seconds' worth of starts that become due together: a worker need not wake up for each.
PORTION = 0.025

#: Messages that are put aside in one step, once one of their key may not start.
HOLD_LIMIT = 1000

_RATE = re.compile(r"([1-9][0-9]{0,8})/([smhd])", re.ASCII)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
#: Seconds between two starts at the highest rate; clocks tell no less apart for sure.
LEAST_INTERVAL = 1e-4


@dataclass(frozen=True, slots=True)
class Limit:
    """What a message is subject to, together with all others of its queue that have this key.

    Args:
        key: ASCII text of at most 64 characters.
        concurrency: so many may run when this one has started; None for any number.
        interval: seconds between two starts at an even pace; None for no rate.
    """

    key: str
    concurrency: int | None = None
    interval: float | None = None


def parse_rate(text: str) -> float:
    """Seconds between two starts, of a rate such as ``"100/m"``.

    Raises:
        ValueError: it is no rate; the message says what is one.
    """
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError('a rate is a number of starts per s, m, h or d, such as "100/m"')
    interval = _SECONDS[match[2]] / int(match[1])
    if interval < LEAST_INTERVAL:
        raise ValueError(f"a rate is at most {1 / LEAST_INTERVAL:.0f}/s")
    return interval


def portion(interval: float) -> int:
    """How many starts become due together."""
    return max(1, int(PORTION / interval))


@dataclass(slots=True)
class Gate:
    """One key within one step: who may start, and who is next. ``tat`` is kept between steps."""

    now: float
    running: int = 0
    tat: float = 0.0

    def admit(self, limit: Limit) -> bool:
        """May one with this limit start now? If so, it has."""
        if limit.concurrency is not None and self.running >= limit.concurrency:
            return False
        if limit.interval is not None:
            if self.now < self.tat - TOLERANCE:
                return False
            self.tat = max(self.now, self.tat) + limit.interval
        self.running += 1
        return True

    def due(self, limit: Limit) -> float:
        """When the next portion of those with this limit may start: now, or later."""
        if limit.interval is None:
            return self.now
        ahead = (portion(limit.interval) - 1) * limit.interval
        return max(self.now, self.tat - TOLERANCE + ahead)

    def wanted(self, limit: Limit) -> int:
        """How many should be ready, or due by then, so that no slot and no turn is wasted."""
        room = [] if limit.concurrency is None else [limit.concurrency - self.running]
        if limit.interval is not None:
            room.append(portion(limit.interval))
        return max(0, min(room, default=0))


@dataclass(slots=True)
class Gates:
    """Those of one claim. ``find`` gives a key's gate as it is before the claim."""

    find: Callable[[str], Gate]
    passed: dict[str, Gate] = field(default_factory=dict)
    #: Limits under which nothing more may start now: their messages are to be put aside.
    denied: dict[Limit, None] = field(default_factory=dict)

    def admit(self, limit: Limit) -> bool:
        """See ``Gate``; ask in the order in which they would start."""
        gate = self.passed.get(limit.key)
        if gate is None:
            gate = self.passed[limit.key] = self.find(limit.key)
        admitted = gate.admit(limit)
        if not admitted:
            self.denied[limit] = None
        return admitted

    @property
    def keys(self) -> list[str]:
        """In the order in which everybody takes locks."""
        return sorted(self.passed)
