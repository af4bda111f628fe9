"""What the engines' queries about pauses share."""

from collections.abc import Iterable
from math import inf

from vtasks_asgi.store.base import Claimed
from vtasks_asgi.store.control import Paused

#: What is paused, by the number in the ``kind`` column.
QUEUE, TASK = 0, 1


def nothing(next_due: float | None, paused_until: float | None, now: float) -> Claimed:
    """The answer to a claim that hands out nothing: when the first of these two is.

    Both are epoch seconds, None for "there is none"; a pause without an end is infinite.
    """
    known = [at for at in (next_due, paused_until) if at is not None and at < inf]
    return Claimed([], max(0.0, min(known) - now) if known else None)


def paused(rows: Iterable[tuple[int, str, float | None]]) -> Paused:
    """From rows of kind, name and until."""
    found = Paused()
    for kind, name, until in rows:
        (found.queues if kind == QUEUE else found.tasks)[name] = until
    return found
