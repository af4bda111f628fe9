"""Groups: which of many messages have ended, and what is to follow once all have.

A part of the storage contract; see ``store.base``. A group's record is open from before any of its
members can be claimed until it is closed, and kept for a while after that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vtasks_asgi.core.message import Message
    from vtasks_asgi.store.base import Receipt

#: Pending members handed out by one look at a group.
LOOKS = 1000


class Member(IntEnum):
    """How a member stands; the numbers are those in every store."""

    PENDING = 0
    SUCCEEDED = 1
    FAILED = 2


@dataclass(slots=True)
class NewGroup:
    """A group to be opened. ``plan`` is opaque to stores; ``keep`` in whole seconds."""

    id: str
    plan: bytes = b""
    keep: int = 0


@dataclass(slots=True)
class Mark:
    """That a member of a group has ended."""

    group: str
    member: str
    state: Member


@dataclass(slots=True)
class GroupRecord:
    """A group as an onlooker sees it; ``created_at`` in epoch seconds.

    ``members`` are there where they were asked for, in their order.
    """

    id: str
    plan: bytes
    total: int
    pending: int
    failed: int
    created_at: float
    closed: bool = False
    members: dict[str, Member] = field(default_factory=dict)


@dataclass(slots=True)
class Opened:
    """The receipts of a group's messages, and the group, if no member of it is pending."""

    receipts: "list[Receipt]"
    completed: GroupRecord | None = None


class Groups(Protocol):
    """What a store keeps of groups. A mark of a group or a member it does not know is none."""

    async def open_group(self, group: NewGroup, messages: "Sequence[Message]") -> Opened:
        """Open a group whose members are these messages, and push them.

        The record is durable before any of them can be claimed. One that is refused because another
        message holds its unique key, or has taken its body, is no member.
        """
        ...

    def open_group_sync(self, group: NewGroup, messages: "Sequence[Message]") -> Opened:
        """``open_group`` from the caller's thread; on a database, inside its transaction."""
        ...

    async def mark_members(
        self, marks: Sequence[Mark], *, waiting_only: bool = False
    ) -> list[GroupRecord]:
        """Note how members have ended; the last mark of one counts, and marking again is legal.

        ``waiting_only`` leaves those alone that are not pending. Returned are those of the groups
        named of which no member is pending, and which are not closed, whoever marked the last.
        """
        ...

    async def close_groups(self, ids: Sequence[str]) -> None:
        """Note that what had to follow is stored. The record goes ``keep`` seconds from then."""
        ...

    async def find_group(self, id: str, *, members: bool = False) -> GroupRecord | None:
        """The group of this id, with its members if wanted; None when it is not kept."""
        ...

    def find_group_sync(self, id: str, *, members: bool = False) -> GroupRecord | None:
        """``find_group`` from the caller's thread; on a database, inside its transaction."""
        ...

    async def sweep_groups(self, limit: int, *, patience: float) -> list[GroupRecord]:
        """Hand out up to ``limit`` open groups nobody has looked at for ``patience`` seconds.

        To open one, to complete it and to be handed it is a look. Their ``members`` are up to
        ``LOOKS`` of those pending, the next ones at the next look. Up to ``limit`` records past
        their time go.
        """
        ...
