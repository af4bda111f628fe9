"""What producers do in MySQL, as functions of a step: in our own transaction or the caller's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.utils import IntegrityError

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.base import Receipt, Ticked
from vtasks_asgi.store.database.limited import columns_of
from vtasks_asgi.store.database.mysql import unique
from vtasks_asgi.store.database.mysql.link import is_duplicate
from vtasks_asgi.store.database.mysql.step import LIST_LIMIT, Row, Step, lists
from vtasks_asgi.store.database.records import DELAYED, LINED, READY

#: Bytes of bodies after which a statement ends: far from any server's max_allowed_packet.
SIZE_LIMIT = 1 << 20

_PUSH = """
INSERT INTO vtasks_message
    (uid, queue, state, priority, created_at, run_at, attempt, crashes, body, unique_key, line)
VALUES """
_ROW = "(%s, %s, %s, %s, %s, %s, 0, 0, %s, %s, %s)"
_PUSH_LIMITED = _PUSH.replace("line)", "line, limit_key, limit_count, limit_interval)")
_ROW_LIMITED = "(%s, %s, %s, %s, %s, %s, 0, 0, %s, %s, %s, %s, %s, %s)"

_FINISHED = """
SELECT uid FROM vtasks_result WHERE uid IN %s
UNION ALL SELECT uid FROM vtasks_deadletter WHERE uid IN %s
"""
_LIVE = "SELECT uid FROM vtasks_message WHERE uid IN %s"


@dataclass(slots=True)
class Item:
    """A message on its way, and what will be said about it."""

    message: Message
    receipt: Receipt

    def refuse(self, holder: str | None, *, merged: bool = False) -> None:
        """Somebody holds its key, if there is a ``holder``."""
        if holder is not None:
            self.receipt = Receipt(self.message.id, False, holder, merged=merged)


def push(step: Step, messages: Sequence[Message]) -> list[Receipt]:
    """Insert all; a receipt each."""
    items = [Item(message, Receipt(message.id)) for message in messages]
    keyed = [item for item in items if item.message.unique is not None]
    if keyed:
        _take_keys(step, keyed)
    for some in _portions(items):
        _insert(step, some)
    _take_back(step, [item.receipt for item in items if item.receipt.stored])
    return [item.receipt for item in items]


def _take_keys(step: Step, items: Sequence[Item]) -> None:
    """Refuse those whose id is known, and those whose key another message holds, or merge them."""
    known: set[str] = set()
    for ids in lists([item.message.id for item in items]):
        found = step.rows(f"{_LIVE} UNION ALL {_FINISHED}", ids, ids, ids)
        known.update(uid for (uid,) in found)
    takers: dict[tuple[str, str], Item] = {}
    # In one order, so that two who want the same keys do not wait for each other.
    for item in sorted(items, key=_key):
        if item.message.id in known:
            item.receipt.stored = False
        elif _key(item) in takers:
            _join(takers[_key(item)], item)
        elif item.message.debounce is None:
            item.refuse(unique.take(step, item.message))
        elif item.message.leads and unique.take(step, item.message) is None:
            item.message = replace(item.message, debounce=None)
        else:
            item.refuse(unique.merge_or_take(step, item.message), merged=True)
        if item.receipt.stored:
            takers.setdefault(_key(item), item)


def _key(item: Item) -> tuple[str, str]:
    return item.message.queue, item.message.unique or ""


def _join(holder: Item, item: Item) -> None:
    """Both come in one call, and the first has taken the key."""
    first, message = holder.message, item.message
    if first.id == message.id:
        return  # the insert refuses it
    item.refuse(first.id, merged=message.debounce is not None)
    if message.debounce is not None:
        holder.message = first.absorb(message)


def _portions(items: Sequence[Item]) -> Iterator[list[Item]]:
    """What is not refused, as much at a time as one statement should insert."""
    some: list[Item] = []
    size = 0
    for item in items:
        if not item.receipt.stored:
            continue
        if len(some) >= LIST_LIMIT or size > SIZE_LIMIT:
            yield some
            some, size = [], 0
        some.append(item)
        size += len(item.message.body)
    if some:
        yield some


def _insert(step: Step, items: Sequence[Item]) -> None:
    """One statement, all or nothing; where an id was there, each half for itself."""
    text, form, make = _PUSH, _ROW, _row
    if any(item.message.limit is not None for item in items):
        text, form, make = _PUSH_LIMITED, _ROW_LIMITED, _row_limited
    values = [value for item in items for value in make(item.message, step.now)]
    try:
        step.run(text + ", ".join([form] * len(items)), *values)
    except IntegrityError as error:
        if not is_duplicate(error):
            raise
        if len(items) == 1:
            items[0].receipt.stored = False
            return
        half = len(items) // 2
        _insert(step, items[:half])
        _insert(step, items[half:])


def _row(message: Message, now: float) -> Row:
    run_at = message.due(now)
    state = READY if message.line is None else LINED
    if run_at is not None and run_at > now:
        state = DELAYED
    routing = (message.id, message.queue, state, message.priority, now, run_at)
    return *routing, message.body, message.unique, message.line


def _row_limited(message: Message, now: float) -> Row:
    return (*_row(message, now), *columns_of(message.limit))


def _take_back(step: Step, receipts: Sequence[Receipt]) -> None:
    """Delete again what had come to an end before.

    Looked for after the insert: from then on nobody else can bring an id to its end.
    """
    for some in lists(receipts):
        ids = [receipt.id for receipt in some]
        found = [uid for (uid,) in step.rows(_FINISHED, ids, ids)]
        if not found:
            continue
        step.run("DELETE FROM vtasks_message WHERE uid IN %s", found)
        for receipt in some:
            receipt.stored = receipt.id not in found


def push_tick(step: Step, schedule: str, at: float, message: Message | None) -> Ticked:
    """Move the tick forward and push; nothing when somebody was there before."""
    if not (_move_tick(step, schedule, at) or _first_tick(step, schedule, at)):
        return Ticked.LATE
    if message is None or push(step, [message])[0].holder:
        return Ticked.SKIPPED
    return Ticked.FIRED


def _move_tick(step: Step, schedule: str, at: float) -> bool:
    query = "UPDATE vtasks_tick SET at = %s WHERE schedule = %s AND at < %s"
    return step.run(query, at, schedule, at) == 1


def _first_tick(step: Step, schedule: str, at: float) -> bool:
    values: tuple[Any, ...] = (schedule, at)
    try:
        step.run("INSERT INTO vtasks_tick (schedule, at) VALUES (%s, %s)", *values)
    except IntegrityError as error:
        if not is_duplicate(error):
            raise
        return _move_tick(step, schedule, at)  # somebody's first tick came in between
    return True
