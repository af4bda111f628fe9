"""Storing messages, as functions of a raw connection inside an open write transaction.

See ``sql`` for what holds of all of these.
"""

from collections.abc import Sequence
from sqlite3 import Connection
from typing import Any

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.base import Receipt, Ticked
from vtasks_asgi.store.database.limited import columns_of
from vtasks_asgi.store.database.records import DELAYED, LINED, READY
from vtasks_asgi.store.database.sqlite import unique

# A finished message keeps its id as long as its result or dead letter is kept. Numbered, not named
# parameters: binding names costs as much again as the insert.
_PUSH = """
INSERT INTO vtasks_message
    (uid, queue, state, priority, created_at, run_at, attempt, crashes, body, unique_key, line)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7, ?8, ?9
WHERE NOT EXISTS (SELECT 1 FROM vtasks_result WHERE uid = ?1)
  AND NOT EXISTS (SELECT 1 FROM vtasks_deadletter WHERE uid = ?1)
ON CONFLICT (uid) DO NOTHING
"""
_PUSH_LIMITED = _PUSH.replace("line)", "line, limit_key, limit_count, limit_interval)").replace(
    "?9\n", "?9, ?10, ?11, ?12\n"
)

_TICK = """
INSERT INTO vtasks_tick (schedule, at) VALUES (?, ?)
ON CONFLICT (schedule) DO UPDATE SET at = excluded.at WHERE excluded.at > vtasks_tick.at
"""


def push(conn: Connection, messages: Sequence[Message], now: float) -> list[Receipt]:
    """Insert all; a receipt each. The per-message answer is worked out only when one was there."""
    if any(each.unique is not None or each.limit is not None for each in messages):
        return [_push_one(conn, message, now) for message in messages]
    rows = [_push_row(message, now) for message in messages]
    if len(rows) < 2:
        return [Receipt(row[0], conn.execute(_PUSH, row).rowcount == 1) for row in rows]
    (last,) = conn.execute("SELECT coalesce(max(seq), 0) FROM vtasks_message").fetchone()
    if conn.executemany(_PUSH, rows).rowcount == len(rows):
        return [Receipt(message.id) for message in messages]
    found = conn.execute("SELECT uid FROM vtasks_message WHERE seq > ?", (last,))
    return _receipts(messages, {uid for (uid,) in found})


def _push_one(conn: Connection, message: Message, now: float) -> Receipt:
    """Insert it unless another message holds its unique key, or takes its body."""
    holder = unique.holder(conn, message, now)
    if holder is not None:
        if _known(conn, message.id):
            return Receipt(message.id, False)
        if message.debounce is None:
            return Receipt(message.id, False, holder)
        if unique.merge(conn, message, holder, now):
            return Receipt(message.id, False, holder, merged=True)
    row = _push_row(message, now, held=holder is not None)
    if message.limit is None:
        stored = conn.execute(_PUSH, row).rowcount == 1
    else:
        stored = conn.execute(_PUSH_LIMITED, (*row, *columns_of(message.limit))).rowcount == 1
    if stored and message.unique is not None:
        unique.take(conn, message, now)
    return Receipt(message.id, stored)


def _known(conn: Connection, uid: str) -> bool:
    tables = ("vtasks_message", "vtasks_result", "vtasks_deadletter")
    query = " UNION ALL ".join(f"SELECT 1 FROM {table} WHERE uid = ?1" for table in tables)
    return conn.execute(query, (uid,)).fetchone() is not None


def _receipts(messages: Sequence[Message], new: set[str]) -> list[Receipt]:
    """The first of several messages of one new id is the one that was stored."""
    receipts = []
    for message in messages:
        receipts.append(Receipt(message.id, message.id in new))
        new.discard(message.id)
    return receipts


def _push_row(message: Message, now: float, *, held: bool = False) -> tuple[Any, ...]:
    run_at = message.due(now, held=held)
    state = READY if message.line is None else LINED
    if run_at is not None and run_at > now:
        state = DELAYED
    routing = (message.id, message.queue, state, message.priority, now, run_at)
    return *routing, message.body, message.unique, message.line


def push_tick(
    conn: Connection, schedule: str, at: float, message: Message | None, now: float
) -> Ticked:
    """Move the tick forward and push; nothing when somebody was there before."""
    if conn.execute(_TICK, (schedule, at)).rowcount != 1:
        return Ticked.LATE
    if message is None or push(conn, [message], now)[0].holder:
        return Ticked.SKIPPED
    return Ticked.FIRED
