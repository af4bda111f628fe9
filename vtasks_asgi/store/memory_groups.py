"""The reference store's groups."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from vtasks_asgi.core.clock import Clock
from vtasks_asgi.core.message import Message
from vtasks_asgi.store.base import Receipt
from vtasks_asgi.store.groups import LOOKS, GroupRecord, Mark, Member, NewGroup, Opened
from vtasks_asgi.store.memory_control import MemoryControl


@dataclass(slots=True)
class Kept:
    """A group, and what only the store knows about it: ``after`` is the last member looked at."""

    record: GroupRecord
    keep: int
    looked_at: float
    after: str | None = None
    expires_at: float | None = None


class MemoryGroups(MemoryControl):
    """See ``store.groups``."""

    def __init__(self, clock: Clock, dead_letter_cap: int) -> None:
        super().__init__(clock, dead_letter_cap)
        self._groups: dict[str, Kept] = {}

    def push_sync(self, messages: Sequence[Message]) -> list[Receipt]:
        raise NotImplementedError

    async def open_group(self, group: NewGroup, messages: Sequence[Message]) -> Opened:
        return self.open_group_sync(group, messages)

    def open_group_sync(self, group: NewGroup, messages: Sequence[Message]) -> Opened:
        members = {message.id: Member.PENDING for message in messages}
        with self._work() as now:
            record = GroupRecord(group.id, group.plan, 0, 0, 0, now, members=members)
            self._groups.setdefault(group.id, Kept(record, group.keep, now))
        receipts = self.push_sync(messages)
        with self._work():
            members = self._groups[group.id].record.members
            for receipt in receipts:
                if receipt.holder is not None:
                    members.pop(receipt.id, None)
            return Opened(receipts, next(iter(self._completed([group.id])), None))

    async def mark_members(
        self, marks: Sequence[Mark], *, waiting_only: bool = False
    ) -> list[GroupRecord]:
        return self.mark_members_sync(marks, waiting_only=waiting_only)

    def mark_members_sync(
        self, marks: Sequence[Mark], *, waiting_only: bool = False
    ) -> list[GroupRecord]:
        with self._work() as now:
            for mark in marks:
                kept = self._groups.get(mark.group)
                was = kept and kept.record.members.get(mark.member)
                if kept and was is not None and (was is Member.PENDING or not waiting_only):
                    kept.record.members[mark.member] = mark.state
                    if was is Member.PENDING and not self._pending(kept):
                        kept.looked_at = now
            return self._completed(dict.fromkeys(mark.group for mark in marks))

    async def close_groups(self, ids: Sequence[str]) -> None:
        self.close_groups_sync(ids)

    def close_groups_sync(self, ids: Sequence[str]) -> None:
        with self._work() as now:
            for id in ids:
                kept = self._groups.get(id)
                if kept is not None and not kept.record.closed:
                    kept.record.closed, kept.expires_at = True, now + kept.keep

    async def find_group(self, id: str, *, members: bool = False) -> GroupRecord | None:
        return self.find_group_sync(id, members=members)

    def find_group_sync(self, id: str, *, members: bool = False) -> GroupRecord | None:
        with self._work() as now:
            kept = self._groups.get(id)
            if kept is None or (kept.expires_at is not None and kept.expires_at <= now):
                return None
            return _told(kept.record, kept.record.members if members else {})

    async def sweep_groups(self, limit: int, *, patience: float) -> list[GroupRecord]:
        with self._work() as now:
            every = self._groups.items()
            over = [id for id, kept in every if (kept.expires_at or now + 1) <= now]
            for id in over[: max(0, limit)]:
                del self._groups[id]
            due = [k for k in self._groups.values() if _is_due(k, now - patience)]
            due.sort(key=lambda kept: kept.looked_at)
            return [_looked_at(kept, now) for kept in due[: max(0, limit)]]

    @staticmethod
    def _pending(kept: Kept) -> bool:
        return Member.PENDING in kept.record.members.values()

    def _completed(self, ids: Iterable[str]) -> list[GroupRecord]:
        found = [self._groups[id].record for id in ids if id in self._groups]
        told = [_told(record, {}) for record in found if not record.closed]
        return [record for record in told if not record.pending]


def _told(record: GroupRecord, members: dict[str, Member]) -> GroupRecord:
    """The record with its numbers, and with no other members than these."""
    states = list(record.members.values())
    return replace(
        record,
        total=len(states),
        pending=states.count(Member.PENDING),
        failed=states.count(Member.FAILED),
        members=dict(members),
    )


def _is_due(kept: Kept, since: float) -> bool:
    return not kept.record.closed and kept.looked_at <= since


def _looked_at(kept: Kept, now: float) -> GroupRecord:
    """The group with its next pending members."""
    ids = list(kept.record.members)
    start = ids.index(kept.after) + 1 if kept.after in ids else 0
    pending = (id for id in ids[start:] if kept.record.members[id] is Member.PENDING)
    some = list(islice(pending, LOOKS))
    kept.looked_at, kept.after = now, some[-1] if len(some) == LOOKS else None
    return _told(kept.record, dict.fromkeys(some, Member.PENDING))
