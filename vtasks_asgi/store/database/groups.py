"""What the engines' queries about groups share."""

from collections.abc import Iterable, Sequence
from typing import Any

from vtasks_asgi.store.base import Receipt
from vtasks_asgi.store.groups import GroupRecord, Member

#: What ``record`` reads, with the number of members that have failed at its end.
COLUMNS = "g.uid, g.plan, g.total, g.pending, g.created_at, g.expires_at"
FAILED = "(SELECT count(*) FROM vtasks_groupmember AS m WHERE m.group_uid = g.uid AND m.state = 2)"
RECORD = f"{COLUMNS}, {FAILED}"


def record(row: Sequence[Any], members: Iterable[tuple[str, int]] = ()) -> GroupRecord:
    """A row of ``RECORD``, and rows of members with their states."""
    uid, plan, total, pending, created_at, expires_at, failed = row[:7]
    told = {member: Member(state) for member, state in members}
    closed = expires_at is not None
    return GroupRecord(uid, bytes(plan), total, pending, failed, created_at, closed, told)


def refused(receipts: Sequence[Receipt]) -> list[str]:
    """The ids of messages that were not stored for a holder's sake."""
    return [receipt.id for receipt in receipts if receipt.holder is not None]
