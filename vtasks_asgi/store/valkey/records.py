"""What onlookers ask as requests, and the replies as records. Pure."""

import re
from collections.abc import Sequence
from typing import Any

from vtasks_asgi.core.limits import HELD
from vtasks_asgi.store.base import QueueStats, Record, State
from vtasks_asgi.store.valkey import layout
from vtasks_asgi.store.valkey.commands import ask, number
from vtasks_asgi.store.valkey.keys import Keys
from vtasks_asgi.store.valkey.scripts import script
from vtasks_asgi.store.valkey.wire import Request

LOOKUP, STATS, PAGE = script("lookup"), script("stats"), script("page")
REQUEUE, PURGE, PRUNE = script("requeue"), script("purge"), script("prune")

#: Ids of one lookup, and messages of one step of a purge; fewer where each has to be looked at.
CHUNK = 1000
LOOKS = 100

#: The sorted set of each state that pages, as ``page.lua`` and ``purge.lua`` count them.
SETS = {State.READY: b"1", State.DELAYED: b"2", State.DEAD: b"3", State.DONE: b"4"}

_CURSOR = re.compile(r"(-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:e[+-]?[0-9]{1,3})?)?:(.*)", re.DOTALL)


def possible(ids: Sequence[str]) -> list[str]:
    """Those that may be ids at all, each once."""
    return [id for id in dict.fromkeys(ids) if id.isascii() and 0 < len(id) <= 64]


def encoded(ids: Sequence[str]) -> list[bytes]:
    return [layout.raw(id) for id in ids]


def lookup(keys: Keys, ids: Sequence[str]) -> Request:
    return ask(keys, LOOKUP, *encoded(ids))


def found(queue: str, ids: Sequence[str], reply: list[Any]) -> list[Record]:
    """The records of ``lookup``, without results past their time."""
    now, *columns = reply
    records = []
    for id, *row in zip(ids, *columns, strict=bool(columns)) if columns else ():
        if row[0] is not None:
            record = _record(id, queue, row, float(now))
            if record is not None:
                records.append(record)
    return records


def _record(id: str, queue: str, row: list[Any], now: float) -> Record | None:
    body, meta_value, own_value, fields, history, ready, sched, lease, dead, done, note = row
    meta, own = layout.read_meta(meta_value), layout.read_own(own_value)
    record = Record(id, queue, State.READY, body[8:], history=history, note=note)
    record.attempt, record.crashes = meta.attempt, meta.crashes
    record.run_at = meta.run_at
    if ready is not None:
        place = float(ready)
        record.priority = layout.priority_of(place if place < layout.LINED else meta.place)
    elif sched is not None:
        record.state = State.DELAYED
        record.priority = layout.priority_of(meta.place)
        due = float(sched)
        record.run_at = due if due < HELD else None
    elif lease is not None:
        record.state = State.RUNNING
        record.priority = layout.priority_of(own.place)
        record.attempt += 1
        record.worker, record.started_at = own.worker, own.started_at
    elif dead is not None or (done is not None and float(done) > now):
        _finish(record, State.DEAD if dead is not None else State.DONE, fields)
    else:
        return None
    return record


def _finish(record: Record, state: State, fields: bytes | None) -> None:
    end = layout.read_fields(fields)
    record.state, record.priority = state, layout.priority_of(end.place)
    record.attempt, record.crashes = end.attempt, end.crashes
    record.finished_at, record.value, record.reason = end.finished_at, end.value, end.reason


def stats(keys: Keys) -> Request:
    return ask(keys, STATS)


def counted(reply: list[Any]) -> QueueStats:
    ready, delayed, running, dead, oldest, paused = reply
    since = float(oldest) if oldest else None
    return QueueStats(ready, delayed, running, dead, since, bool(paused))


def page(keys: Keys, state: State, limit: int, position: tuple[bytes, bytes]) -> Request:
    return ask(keys, PAGE, SETS[state], b"%d" % limit, *position)


def position(cursor: str | None) -> tuple[bytes, bytes]:
    """The score and id a cursor stands for, empty at the start.

    Raises:
        ValueError: it makes no sense.
    """
    if not cursor:
        return b"", b""
    match = _CURSOR.fullmatch(cursor) if cursor.isascii() else None
    if match is None:
        raise ValueError("the cursor makes no sense; leave it out to start anew")
    return (match[1] or "").encode(), match[2].encode()


def cursor(score: bytes, id: bytes) -> str | None:
    """The cursor of what follows this one."""
    return f"{score.decode()}:{layout.text(id)}"


def requeue(keys: Keys, ids: Sequence[str]) -> Request:
    return ask(keys, REQUEUE, *encoded(ids))


def purge(keys: Keys, state: State, before: float | None, rank: int) -> Request:
    bound = b"" if before is None else number(before)
    looks = CHUNK if before is None else LOOKS
    return ask(keys, PURGE, SETS[state], bound, b"%d" % looks, b"%d" % rank)


def prune(keys: Keys, limit: int, cursor: bytes) -> Request:
    return ask(keys, PRUNE, b"%d" % limit, cursor)
