"""What onlookers ask of a store: a part of the contract, see ``store.base``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vtasks_asgi.store.base import QueueStats, Record, State


class Inspector(Protocol):
    """What admin, metrics and commands ask. Reading never blocks claims."""

    async def stats(self, queues: Sequence[str]) -> "dict[str, QueueStats]":
        """Numbers for each of these queues, empty ones included."""
        ...

    async def known_queues(self) -> list[str]:
        """Every queue that has a live message or a dead letter, maybe empty ones too; sorted."""
        ...

    async def lookup(self, ids: Sequence[str]) -> "dict[str, Record]":
        """The records of those ids that exist; a result past its time no longer does."""
        ...

    def lookup_sync(self, ids: Sequence[str]) -> "dict[str, Record]":
        """``lookup`` from the caller's thread; on a database, inside its transaction."""
        ...

    async def browse(
        self, queue: str, state: "State", *, limit: int, cursor: str | None = None
    ) -> "tuple[list[Record], str | None]":
        """A page of records of one state, and the cursor of the next page, None at the end.

        What stays in that state while the pages are turned appears exactly once.

        Raises:
            ValueError: ``limit`` is below 1, or ``cursor`` makes no sense.
        """
        ...

    async def requeue(self, ids: Sequence[str]) -> int:
        """Make dead letters ready again, as if just pushed; how many there were.

        Attempts and crashes are back at zero, and history is empty; its note it keeps. One whose
        unique key another message holds by now stays dead and does not count.
        """
        ...

    async def purge(self, queue: str, state: "State", *, before: float | None = None) -> int:
        """Delete all of one state, or with ``before`` (epoch seconds) only older ones; how many.

        Finished messages are as old as their end, others as their push.

        Raises:
            ValueError: for ``RUNNING``.
        """
        ...

    async def prune(self, limit: int) -> int:
        """Delete up to ``limit`` results whose time to live is over; how many there were."""
        ...


def cursor_position(cursor: str | None) -> int:
    """What a cursor that is a sequence number stands for; 0, the start, when there is none.

    Raises:
        ValueError: it is no sequence number.
    """
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise ValueError("the cursor makes no sense; leave it out to start anew")
    return int(cursor)
