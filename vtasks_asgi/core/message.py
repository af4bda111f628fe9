"""A message as stores see it: routing columns and an opaque body (see ``core.envelope``)."""

import os
import time
from dataclasses import dataclass, replace

from vtasks_asgi.core.limits import Limit

DEFAULT_QUEUE = "default"
MIN_PRIORITY = -100
MAX_PRIORITY = 100


#: What follows the time, drawn in advance: one system call for many ids. A forked child draws its
#: own.
_drawn: list[str] = []
_DRAW = 64
#: How many were ever drawn.
_count = 0
#: The last milliseconds that were asked for, and their digits.
_last = 0, "0" * 12


def _draw() -> str:
    global _count  # noqa: PLW0603 - threads that draw at once count alike, which does no harm
    digits, first = os.urandom(8 * _DRAW).hex(), _count
    _count += _DRAW
    ends = [
        f"{(first + n) & 0xFFFF:04x}{digits[16 * n : 16 * n + 16]}"
        for n in reversed(range(1, _DRAW))
    ]
    _drawn.extend(ends)
    return f"{first & 0xFFFF:04x}{digits[:16]}"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drawn.clear)


def new_id(now: float | None = None) -> str:
    """32 hex digits: 48 bits of milliseconds, 16 that count, then 64 random bits.

    That is the layout of RFC 9562 UUIDv7 with a counter (its section 6.2). Ids made later sort
    later, those of one bulk too (until the count starts anew), so an index grows at one end.
    """
    global _last  # noqa: PLW0603 - replaced as a whole, so that threads need no lock
    milliseconds = int((time.time() if now is None else now) * 1000)
    before, digits = _last
    if milliseconds != before:
        digits = f"{milliseconds:012x}"
        _last = milliseconds, digits
    try:
        return digits + _drawn.pop()
    except IndexError:
        return digits + _draw()


# Not frozen: a frozen dataclass costs a microsecond more per message, and there are many.
@dataclass(slots=True)
class Message:
    """One enqueued call on its way to a store. Treat it as immutable.

    ``run_at`` is the earliest start in seconds since the epoch, None for "now". ``unique`` is a key
    that at most one live message of the queue may hold: ASCII text of at most 64 characters.
    ``keep_unique`` holds the key for at least so many seconds from the push, even if the message
    ends before ("throttling").

    ``debounce`` makes a message with a key wait so many seconds from its push, and absorb later
    ones of that key meanwhile; ``debounce_max`` bounds the wait, counted from the first push. Such
    a message has no ``run_at``. With ``keep_unique`` besides it leads: it waits only if its key is
    held.

    ``limit`` is what bounds how many of its key run, or start, at once.

    ``line`` is the line it waits in, see ``core.line``: lines of a queue take turns. Those without
    one have a line together.
    """

    id: str
    queue: str
    body: bytes
    priority: int = 0
    run_at: float | None = None
    unique: str | None = None
    keep_unique: float | None = None
    debounce: float | None = None
    debounce_max: float | None = None
    limit: Limit | None = None
    line: int | None = None

    @property
    def leads(self) -> bool:
        """Whether it is debounced, but does not wait where nobody holds its key."""
        return self.debounce is not None and self.keep_unique is not None

    def due(self, now: float, *, held: bool = True) -> float | None:
        """The earliest start of one pushed now, in seconds since the epoch; None for at once.

        ``held``: another message holds the key of this one; asked of one that leads.
        """
        if self.debounce is None or (not held and self.leads):
            return self.run_at
        return now + self.debounce

    def absorb(self, later: "Message") -> "Message":
        """This one with the body of a later, debounced one of its key, both pushed in one call."""
        if later.leads and self.debounce is None and self.run_at is None:
            return replace(self, body=later.body)
        wait = later.debounce
        if wait is not None and later.debounce_max is not None:
            wait = min(wait, later.debounce_max)
        return replace(self, body=later.body, run_at=None, debounce=wait)
