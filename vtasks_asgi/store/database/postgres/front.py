"""Where the ready messages of a queue begin, so that a claim need not walk over what was before.

Entries of messages that have moved on stay in the index until the table is vacuumed: 0.1 ms for a
thousand, and more while a snapshot that is held open keeps claims from marking them. So a claim
goes on where the last one ended, within its priority; what has a higher one it always sees.

What gets ready before that place is found by the next claim from the beginning: messages whose
number was drawn first and committed last, and what another process has put back. There is such a
claim after one that was not full, and after a retry, a release, or a caller's transaction of this
process; else from time to time, so that these take about a fiftieth of it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vtasks_asgi.store.base import Claim

#: A priority, and the number of a message within it.
type Place = tuple[int, int]

#: Seconds between two claims from the beginning, of which one takes a fiftieth if that fits.
SHORTEST, LONGEST, SHARE = 0.05, 1.0, 50


@dataclass(slots=True)
class Look:
    """One claim, and the place it goes on from; None for one from the beginning."""

    place: Place | None
    began: float
    version: int


class Front:
    """Of one queue. ``begin`` before each claim, ``end`` after it."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._place: Place | None = None
        self._until = 0.0
        self._version = 0

    def begin(self) -> Look:
        now = self._monotonic()
        return Look(self._place if now < self._until else None, now, self._version)

    def end(self, look: Look, claims: Sequence[Claim], limit: int) -> None:
        if look.place is None:
            now = self._monotonic()
            self._until = now + min(max(SHARE * (now - look.began), SHORTEST), LONGEST)
        if not claims or len(claims) < limit:
            self.forget()
        elif look.version == self._version:
            last = max(claims, key=in_order)
            if look.place is None or in_order(last) > (-look.place[0], look.place[1]):
                self._place = last.priority, last.handle

    def forget(self) -> None:
        """Something may be ready before that place: the next claim is one from the beginning."""
        self._place = None
        self._version += 1


def in_order(claim: Claim) -> tuple[int, int]:
    """For sorting: by priority, then age."""
    return -claim.priority, claim.handle
