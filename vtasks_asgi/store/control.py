"""What operators ask of a running system: cancel messages, pause queues and tasks.

A part of the storage contract; see ``store.base``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vtasks_asgi.store.base import Claim


class Cancel(StrEnum):
    """What a cancellation met.

    ``CANCELLED`` a message that waited: it is a dead letter now. ``ASKED`` one that runs, or whose
    worker has vanished: it is marked, and its holder learns of it. ``FINISHED`` a result or a dead
    letter, which stays what it is. ``UNKNOWN`` nothing. The first two are true, the others false.
    """

    CANCELLED = "cancelled"
    ASKED = "asked"
    FINISHED = "finished"
    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        return self in (Cancel.CANCELLED, Cancel.ASKED)


@dataclass(slots=True)
class Cancellation:
    """What became of each id, and the dead letters ``buried`` and ``evicted``, by queue."""

    outcomes: dict[str, Cancel] = field(default_factory=dict)
    buried: dict[str, int] = field(default_factory=dict)
    evicted: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Paused:
    """Queues and tasks that are paused: until when, in epoch seconds, None for "until resumed"."""

    queues: dict[str, float | None] = field(default_factory=dict)
    tasks: dict[str, float | None] = field(default_factory=dict)


class Control(Protocol):
    """Cancelling and pausing, in force for every process at once."""

    async def cancel(self, ids: Sequence[str]) -> Cancellation:
        """Let these messages not run, or not run again.

        One that waits becomes a dead letter with the reason ``cancelled``, its unique key released
        as for any other. One that runs is marked: ``settle`` makes a dead letter of it in place of
        a retry or a release, and ``reclaim`` hands it out with ``cancelled``. A mark ends with its
        message. Dead letters are buried in the order of ``ids``, the cap applied within the step.
        Every id that was asked for is among the outcomes.
        """
        ...

    def cancel_sync(self, ids: Sequence[str]) -> Cancellation:
        """``cancel`` from the caller's thread; on a database, inside the caller's transaction.

        There it holds up whoever settles these messages until the transaction ends.
        """
        ...

    def cancelled(self, claims: Sequence["Claim"]) -> list["Claim"]:
        """Those of these claims that still hold, and were cancelled.

        Blocking, from any thread, like ``extend``; it never waits for a lock.
        """
        ...

    async def pause(self, queue: str, until: float | None = None) -> None:
        """Claims of this queue hand out nothing, until then (epoch seconds) or ``resume``.

        Of claims that begin after this has returned, that is. What is due is still promoted, what
        runs goes on, and expired leases are taken over. ``Claimed.next_due`` tells when the pause
        ends, if that is earlier than what else it would tell. Pausing again replaces ``until``.
        """
        ...

    async def resume(self, queue: str) -> bool:
        """End the pause of this queue, if there is one, and end ``wait``; was there one?"""
        ...

    async def pause_task(self, task: str, until: float | None = None) -> None:
        """Note that this task is paused. ``claim`` knows nothing of tasks: workers have to ask."""
        ...

    async def resume_task(self, task: str) -> bool:
        """Note that it no longer is; was it?"""
        ...

    async def paused(self) -> Paused:
        """All that is paused at this moment."""
        ...

    async def paused_tasks(self) -> set[str]:
        """The tasks that are paused at this moment: few to read, for workers ask every second."""
        ...
