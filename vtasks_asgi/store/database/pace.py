"""How often to look at an index when too much lies in the way that only seems to be there.

Entries of messages that have moved on stay in an index until no snapshot can see them: usually for
milliseconds, but for as long as the oldest transaction is open, be it a dump: of this database in
PostgreSQL, of any in MySQL. A look walks over them, at 5 ms for a thousand there and 0.1 ms here.
Once looks have become slow, there is one now and then, so that they take no more than a sixth of
the time. In between, claims go by the order of pushing, from the last message they took on; what
else there may be has to wait.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

#: Seconds from which a look is slow, and how many in a row prove that it is not the machine.
SLOW = 0.05
SURE = 3
#: So many times what a slow look took passes before the next one.
RATIO = 5


@dataclass(slots=True)
class Pace:
    """Of one kind of look by one thread. Call ``begin``, and if it says so, look and ``end``."""

    monotonic: Callable[[], float] = time.monotonic
    _began: float = 0.0
    _slow: int = 0
    _next: float = 0.0

    def begin(self) -> bool:
        """Is it time for a look?"""
        self._began = self.monotonic()
        return self._began >= self._next

    @property
    def pause(self) -> float:
        """Seconds until it is."""
        return max(0.0, self._next - self.monotonic())

    def end(self) -> bool:
        """The look is over; will the next one have to wait?"""
        now = self.monotonic()
        took = now - self._began
        self._slow = self._slow + 1 if took > SLOW else 0
        if self._slow < SURE:
            return False
        self._next = now + RATIO * took
        return True


@dataclass(slots=True)
class Paces:
    """Those of one queue, and where claims go on in between."""

    ready: Pace = field(default_factory=Pace)
    due: Pace = field(default_factory=Pace)
    expired: Pace = field(default_factory=Pace)
    #: No message before this one was ready at the last look.
    first: int = 0
    next_due: float | None = None
