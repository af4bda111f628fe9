"""A message as stores see it: routing columns and an opaque body (see ``core.envelope``)."""

import os
import time
from dataclasses import dataclass

DEFAULT_QUEUE = "default"
MIN_PRIORITY = -100
MAX_PRIORITY = 100


#: Random parts drawn in advance: one system call for many ids. A forked child draws its own.
_random: list[str] = []
_DRAW = 64


def _draw() -> str:
    digits = os.urandom(10 * _DRAW).hex()
    _random.extend(digits[start : start + 20] for start in range(20, 20 * _DRAW, 20))
    return digits[:20]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.clear)


def new_id(now: float | None = None) -> str:
    """32 hex digits: 48 bits of milliseconds, then 80 random bits (the layout of RFC 9562 UUIDv7).

    Ids made later sort later, so that an index on them grows at one end.
    """
    milliseconds = int((time.time() if now is None else now) * 1000)
    try:
        return f"{milliseconds:012x}{_random.pop()}"
    except IndexError:
        return f"{milliseconds:012x}{_draw()}"


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
    a message has neither ``run_at`` nor ``keep_unique``.

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
    line: int | None = None

    def due(self, now: float) -> float | None:
        """The earliest start of one pushed now, in seconds since the epoch; None for at once."""
        return self.run_at if self.debounce is None else now + self.debounce
