"""Groups in Valkey. Members may be of any queues, so a group has keys, and a slot, of its own."""

import random
from collections.abc import Iterable, Sequence
from itertools import batched
from typing import Any

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.base import Receipt
from vtasks_asgi.store.groups import LOOKS, GroupRecord, Mark, Member, NewGroup, Opened
from vtasks_asgi.store.valkey import layout, records
from vtasks_asgi.store.valkey.commands import ask, number
from vtasks_asgi.store.valkey.control import ValkeyControl
from vtasks_asgi.store.valkey.scripts import script
from vtasks_asgi.store.valkey.wire import Request

OPEN, DROP, MARK = script("group_open"), script("group_drop"), script("group_mark")
CLOSE, FIND = script("group_close"), script("group_find")
DUE, LOOK, FORGET = script("group_due"), script("group_look"), script("group_forget")


class ValkeyGroups(ValkeyControl):
    """See ``store.groups``."""

    async def push(self, messages: Sequence[Message]) -> list[Receipt]:
        raise NotImplementedError

    def push_sync(self, messages: Sequence[Message]) -> list[Receipt]:
        raise NotImplementedError

    # -- opening

    async def open_group(self, group: NewGroup, messages: Sequence[Message]) -> Opened:
        for request in self._openings(group, messages):
            await self._call(request)
        receipts = await self.push(messages)
        replies = await self._calls(self._drops(group, receipts))
        return Opened(receipts, _completed(group.id, replies))

    def open_group_sync(self, group: NewGroup, messages: Sequence[Message]) -> Opened:
        self._blocking.calls(list(self._openings(group, messages)))
        receipts = self.push_sync(messages)
        replies = self._blocking.calls(list(self._drops(group, receipts)))
        return Opened(receipts, _completed(group.id, replies))

    def _openings(self, group: NewGroup, messages: Sequence[Message]) -> Iterable[Request]:
        keys, id = self._names.group(group.id), layout.raw(group.id)
        head = id, group.plan, b"%d" % group.keep
        ids = records.encoded([message.id for message in messages])
        return (ask(keys, OPEN, *head, *some) for some in _some(ids))

    def _drops(self, group: NewGroup, receipts: Sequence[Receipt]) -> Iterable[Request]:
        """Nothing where all were stored; a request without ids where there were none."""
        refused = [layout.raw(each.id) for each in receipts if each.holder is not None]
        if receipts and not refused:
            return ()
        return (ask(self._names.group(group.id), DROP, *some) for some in _some(refused))

    # -- ending

    async def mark_members(
        self, marks: Sequence[Mark], *, waiting_only: bool = False
    ) -> list[GroupRecord]:
        self._require_open()
        ends: dict[str, list[Mark]] = {}
        for mark in marks:
            if mark.group.isascii() and mark.member.isascii():
                ends.setdefault(mark.group, []).append(mark)
        completed = await self._calls(
            self._mark(id, some, waiting_only)
            for id, every in ends.items()
            for some in _some(every)
        )
        named = [id for id, every in ends.items() for _ in _some(every)]
        told = {id: _record(id, reply) for id, reply in zip(named, completed, strict=True) if reply}
        return list(told.values())

    def _mark(self, id: str, marks: Sequence[Mark], waiting_only: bool) -> Request:
        pairs = [part for m in marks for part in (layout.raw(m.member), b"%d" % m.state)]
        flag = b"1" if waiting_only else b""
        return ask(self._names.group(id), MARK, layout.raw(id), flag, *pairs)

    async def close_groups(self, ids: Sequence[str]) -> None:
        self._require_open()
        await self._calls(
            ask(self._names.group(id), CLOSE, layout.raw(id)) for id in records.possible(ids)
        )

    # -- looking

    async def find_group(self, id: str, *, members: bool = False) -> GroupRecord | None:
        self._require_open()
        if not records.possible([id]):
            return None
        return _found(id, await self._call(self._find(id, members)))

    def find_group_sync(self, id: str, *, members: bool = False) -> GroupRecord | None:
        if not records.possible([id]):
            return None
        return _found(id, self._blocking.call(self._find(id, members)))

    def _find(self, id: str, members: bool) -> Request:
        return ask(self._names.group(id), FIND, b"1" if members else b"")

    async def sweep_groups(self, limit: int, *, patience: float) -> list[GroupRecord]:
        found: list[GroupRecord] = []
        shards = self._names.shards()
        for shard in random.sample(shards, len(shards)):  # so that none is always the last
            most = b"%d" % max(limit - len(found), 0)
            over, due = await self._call(ask(shard, DUE, most, number(patience)))
            await self._calls(ask(self._names.group(layout.text(id)), FORGET, id) for id in over)
            ids = list(map(layout.text, due))
            looks = [ask(self._names.group(id), LOOK, b"%d" % LOOKS) for id in ids]
            told = zip(ids, await self._calls(looks), strict=True)
            found += filter(None, (_found(id, reply) for id, reply in told))
        return found

    def _require_open(self) -> None:
        """Raise StoreUnavailable unless it is open."""
        raise NotImplementedError


def _some[T](items: Sequence[T]) -> list[list[T]]:
    """All items, as much as one call may carry at a time; at least one call."""
    return list(map(list, batched(items, records.CHUNK))) or [[]]


def _completed(id: str, replies: Sequence[Any]) -> GroupRecord | None:
    """What the last of them tells."""
    return _record(id, replies[-1]) if replies and replies[-1] else None


def _found(id: str, reply: Any) -> GroupRecord | None:
    return _record(id, *reply) if reply else None


def _record(id: str, fields: Sequence[Any], members: Sequence[Any] = ()) -> GroupRecord:
    plan, total, pending, failed, at, expires = (*fields, None)[:6]
    scores = zip(map(layout.text, members[::2]), map(float, members[1::2]), strict=True)
    return GroupRecord(
        id,
        plan,
        int(total),
        int(pending),
        int(failed),
        float(at),
        expires is not None,
        {member: Member(int(score) % 4) for member, score in scores},
    )
