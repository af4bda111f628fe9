"""What onlookers ask of the SQLite tables, as functions of a raw connection."""

from collections.abc import Iterable, Sequence
from sqlite3 import Connection
from typing import Any

import orjson

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.base import QueueStats, Record, State
from vtasks_asgi.store.database.pauses import QUEUE
from vtasks_asgi.store.database.queues import BY_STATE, known_queues
from vtasks_asgi.store.database.records import (
    CONDITIONS,
    DEAD_ROWS,
    DONE_ROWS,
    LIVE_ROWS,
    READY,
    STATES,
    TABLES,
    dead_record,
    done_record,
    live_record,
    page,
)
from vtasks_asgi.store.database.sqlite import control, limits, unique
from vtasks_asgi.store.inspector import cursor_position

_COUNT = """
SELECT queue, CASE WHEN state = 3 OR state = 1 AND run_at <= ?1 THEN 0 ELSE state END AS is_now,
    count(*), min(max(created_at, coalesce(run_at, created_at)))
FROM vtasks_message WHERE queue IN (SELECT value FROM json_each(?2)) GROUP BY queue, is_now
"""

_COUNT_DEAD = """
SELECT queue, count(*) FROM vtasks_deadletter
WHERE queue IN (SELECT value FROM json_each(?)) GROUP BY queue
"""

_KNOWN = known_queues(*BY_STATE)

_EXHUME = """
INSERT INTO vtasks_message
    (uid, queue, state, priority, created_at, attempt, crashes, body, unique_key, note,
    limit_key, limit_count, limit_interval, line)
SELECT uid, queue, CASE WHEN line IS NULL THEN 0 ELSE 3 END, priority, ?, 0, 0, body, unique_key,
    note, limit_key, limit_count, limit_interval, line
FROM vtasks_deadletter WHERE uid = ?
"""


def lookup(conn: Connection, ids: Sequence[str], now: float) -> dict[str, Record]:
    """Records by id; a result past its time is gone even before it is pruned."""
    wanted = orjson.dumps([uid for uid in ids if uid.isascii()]).decode()
    among = "WHERE uid IN (SELECT value FROM json_each(?))"
    rows: Iterable[Record] = (
        *map(live_record, conn.execute(LIVE_ROWS + among, (wanted,))),
        *map(dead_record, conn.execute(DEAD_ROWS + among, (wanted,))),
        *map(done_record, conn.execute(f"{DONE_ROWS} {among} AND expires_at > ?", (wanted, now))),
    )
    return {record.id: record for record in rows}


def stats(conn: Connection, queues: Sequence[str], now: float) -> dict[str, QueueStats]:
    """Counts for each queue asked for."""
    wanted = orjson.dumps(list(queues)).decode()
    result = {queue: QueueStats() for queue in queues}
    for queue, state, count, oldest in conn.execute(_COUNT, (now, wanted)):
        setattr(result[queue], STATES[state].value, count)
        if state == READY:
            result[queue].oldest_ready = max(0.0, now - oldest)
    for queue, count in conn.execute(_COUNT_DEAD, (wanted,)):
        result[queue].dead = count
    for queue in control.paused_names(conn, QUEUE, now) & result.keys():
        result[queue].paused = True
    return result


def known(conn: Connection) -> list[str]:
    """The queues there are."""
    return sorted(queue for (queue,) in conn.execute(_KNOWN))


def browse(
    conn: Connection, queue: str, state: State, *, limit: int, cursor: str | None, now: float
) -> tuple[list[Record], str | None]:
    """A page in the order of arrival."""
    if limit < 1:
        raise ValueError("limit must be at least 1")
    after = cursor_position(cursor)
    after_it = "AND seq > ? ORDER BY seq LIMIT ?"
    if state is State.DEAD:
        rows = conn.execute(f"{DEAD_ROWS} WHERE queue = ? {after_it}", (queue, after, limit + 1))
        make = dead_record
    elif state is State.DONE:
        query = f"{DONE_ROWS} WHERE queue = ? AND expires_at > ? {after_it}"
        rows = conn.execute(query, (queue, now, after, limit + 1))
        make = done_record
    else:
        query = f"{LIVE_ROWS} WHERE queue = ? AND {CONDITIONS[state]} {after_it}"
        rows = conn.execute(query, (queue, after, limit + 1))
        make = live_record
    found, following = page(rows.fetchall(), limit)
    return [make(row) for row in found], following


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
    table, age = TABLES[state]
    query, values = f"DELETE FROM {table} WHERE queue = ?", [queue]
    parameters: list[Any] = list(values)
    if state in CONDITIONS:
        query += f" AND {CONDITIONS[state]}"
    if before is not None:
        query += f" AND {age} < ?"
        parameters.append(before)
    return conn.execute(query, parameters).rowcount


def prune(conn: Connection, limit: int, now: float) -> int:
    """Delete results past their time, oldest first, and unique keys nobody holds."""
    unique.sweep(conn, max(limit, 0), now)
    limits.sweep(conn, max(limit, 0), now)
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
