"""What onlookers ask of the SQLite tables, as functions of a raw connection."""

from collections.abc import Iterable, Sequence
from sqlite3 import Connection
from typing import Any

import orjson

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.base import QueueStats, Record, State, cursor_position
from vtasks_asgi.store.database import unique
from vtasks_asgi.store.database.sql import DELAYED, READY, RUNNING

_STATES = {READY: State.READY, DELAYED: State.DELAYED, RUNNING: State.RUNNING}
_NUMBERS = {state: number for number, state in _STATES.items()}

_LIVE = """
SELECT uid, queue, body, priority, attempt, crashes, history, note, state, run_at, worker,
    started_at, seq
FROM vtasks_message
"""
_DEAD = """
SELECT uid, queue, body, priority, attempt, crashes, history, note, reason, finished_at, seq
FROM vtasks_deadletter
"""
_DONE = """
SELECT uid, queue, body, priority, value, history, note, finished_at, seq
FROM vtasks_result
"""

_COUNT = """
SELECT queue, CASE WHEN state = 1 AND run_at <= ?1 THEN 0 ELSE state END AS is_now, count(*),
    min(max(created_at, coalesce(run_at, created_at)))
FROM vtasks_message WHERE queue IN (SELECT value FROM json_each(?2)) GROUP BY queue, is_now
"""

_COUNT_DEAD = """
SELECT queue, count(*) FROM vtasks_deadletter
WHERE queue IN (SELECT value FROM json_each(?)) GROUP BY queue
"""

_TABLES = {
    State.READY: ("vtasks_message", "created_at"),
    State.DELAYED: ("vtasks_message", "created_at"),
    State.RUNNING: ("vtasks_message", "created_at"),
    State.DONE: ("vtasks_result", "finished_at"),
    State.DEAD: ("vtasks_deadletter", "finished_at"),
}

_EXHUME = """
INSERT INTO vtasks_message
    (uid, queue, state, priority, created_at, attempt, crashes, body, unique_key, note)
SELECT uid, queue, 0, priority, ?, 0, 0, body, unique_key, note
FROM vtasks_deadletter WHERE uid = ?
"""


def _live_record(row: tuple[Any, ...]) -> Record:
    uid, queue, body, priority, attempt, crashes, history, note = row[:8]
    state, run_at, worker, started = row[8:12]
    return Record(
        uid,
        queue,
        _STATES[state],
        body,
        priority,
        run_at=run_at,
        attempt=attempt,
        crashes=crashes,
        history=history,
        worker=worker,
        started_at=started,
        note=note,
    )


def _dead_record(row: tuple[Any, ...]) -> Record:
    uid, queue, body, priority, attempt, crashes, history, note, reason, finished = row[:10]
    return Record(
        uid,
        queue,
        State.DEAD,
        body,
        priority,
        attempt=attempt,
        crashes=crashes,
        history=history,
        reason=reason,
        finished_at=finished,
        note=note,
    )


def _done_record(row: tuple[Any, ...]) -> Record:
    uid, queue, body, priority, value, history, note, finished = row[:8]
    return Record(
        uid,
        queue,
        State.DONE,
        body,
        priority,
        value=value,
        history=history,
        finished_at=finished,
        note=note,
    )


def lookup(conn: Connection, ids: Sequence[str], now: float) -> dict[str, Record]:
    """Records by id; a result past its time is gone even before it is pruned."""
    wanted = orjson.dumps([uid for uid in ids if uid.isascii()]).decode()
    among = "WHERE uid IN (SELECT value FROM json_each(?))"
    rows: Iterable[Record] = (
        *map(_live_record, conn.execute(_LIVE + among, (wanted,))),
        *map(_dead_record, conn.execute(_DEAD + among, (wanted,))),
        *map(_done_record, conn.execute(f"{_DONE} {among} AND expires_at > ?", (wanted, now))),
    )
    return {record.id: record for record in rows}


def stats(conn: Connection, queues: Sequence[str], now: float) -> dict[str, QueueStats]:
    """Counts for each queue asked for."""
    wanted = orjson.dumps(list(queues)).decode()
    result = {queue: QueueStats() for queue in queues}
    for queue, state, count, oldest in conn.execute(_COUNT, (now, wanted)):
        setattr(result[queue], _STATES[state].value, count)
        if state == READY:
            result[queue].oldest_ready = max(0.0, now - oldest)
    for queue, count in conn.execute(_COUNT_DEAD, (wanted,)):
        result[queue].dead = count
    return result


def browse(
    conn: Connection, queue: str, state: State, *, limit: int, cursor: str | None, now: float
) -> tuple[list[Record], str | None]:
    """A page in the order of arrival."""
    if limit < 1:
        raise ValueError("limit must be at least 1")
    after = cursor_position(cursor)
    page = "AND seq > ? ORDER BY seq LIMIT ?"
    if state is State.DEAD:
        rows = conn.execute(f"{_DEAD} WHERE queue = ? {page}", (queue, after, limit + 1))
        make = _dead_record
    elif state is State.DONE:
        query = f"{_DONE} WHERE queue = ? AND expires_at > ? {page}"
        rows = conn.execute(query, (queue, now, after, limit + 1))
        make = _done_record
    else:
        query = f"{_LIVE} WHERE queue = ? AND state = ? {page}"
        rows = conn.execute(query, (queue, _NUMBERS[state], after, limit + 1))
        make = _live_record
    found = rows.fetchall()
    more = len(found) > limit
    return [make(row) for row in found[:limit]], str(found[limit - 1][-1]) if more else None


def requeue(conn: Connection, ids: Sequence[str], now: float) -> int:
    """Dead letters back to ready, as if just enqueued."""
    count = 0
    for uid in ids:
        if uid.isascii() and _free(conn, uid, now):
            count += conn.execute(_EXHUME, (now, uid)).rowcount
            conn.execute("DELETE FROM vtasks_deadletter WHERE uid = ?", (uid,))
    return count


def _free(conn: Connection, uid: str, now: float) -> bool:
    """Whether the dead letter's unique key could be had; it is taken then."""
    query = "SELECT queue, unique_key FROM vtasks_deadletter WHERE uid = ?"
    row = conn.execute(query, (uid,)).fetchone()
    if row is None:
        return False
    queue, key = row
    if key is not None:
        letter = Message(uid, queue, b"", unique=key)
        if unique.holder(conn, letter, now) is not None:
            return False
        unique.take(conn, letter, now)
    return True


def purge(conn: Connection, queue: str, state: State, before: float | None) -> int:
    """Delete all of one state, or those older than ``before``."""
    table, age = _TABLES[state]
    query, values = f"DELETE FROM {table} WHERE queue = ?", [queue]
    parameters: list[Any] = list(values)
    if state in _NUMBERS:
        query += " AND state = ?"
        parameters.append(_NUMBERS[state])
    if before is not None:
        query += f" AND {age} < ?"
        parameters.append(before)
    return conn.execute(query, parameters).rowcount


def prune(conn: Connection, limit: int, now: float) -> int:
    """Delete results past their time, oldest first, and unique keys nobody holds."""
    unique.sweep(conn, max(limit, 0), now)
    query = """
        DELETE FROM vtasks_result WHERE seq IN (
            SELECT seq FROM vtasks_result WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
    """
    return conn.execute(query, (now, max(limit, 0))).rowcount


def ticks(conn: Connection, schedules: Sequence[str]) -> dict[str, float]:
    """The last tick of each schedule that has one."""
    query = (
        "SELECT schedule, at FROM vtasks_tick WHERE schedule IN (SELECT value FROM json_each(?))"
    )
    return dict(conn.execute(query, (orjson.dumps(list(schedules)).decode(),)).fetchall())
