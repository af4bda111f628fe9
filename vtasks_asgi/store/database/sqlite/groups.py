"""Groups in SQLite, as functions of a raw connection."""

from collections.abc import Sequence
from sqlite3 import Connection

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.database.groups import RECORD, record, refused
from vtasks_asgi.store.database.sqlite import push
from vtasks_asgi.store.groups import LOOKS, GroupRecord, Mark, NewGroup, Opened

_OPEN = """
INSERT INTO vtasks_group (uid, plan, total, pending, keep, created_at, looked_at, place)
VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?5, -1) ON CONFLICT (uid) DO NOTHING
"""
_ADD = """
INSERT INTO vtasks_groupmember (group_uid, uid, n, state) VALUES (?, ?, ?, 0)
ON CONFLICT (group_uid, uid) DO NOTHING
"""
_DROP = "DELETE FROM vtasks_groupmember WHERE group_uid = ? AND uid = ? AND state = 0"
_FEWER = "UPDATE vtasks_group SET total = total - ?1, pending = pending - ?1 WHERE uid = ?2"

_ENDED = "UPDATE vtasks_groupmember SET state = ? WHERE group_uid = ? AND uid = ? AND state = 0"
_CHANGED = "UPDATE vtasks_groupmember SET state = ?1 WHERE group_uid = ?2 AND uid = ?3"
_COUNT = """
UPDATE vtasks_group SET pending = pending - 1,
    looked_at = CASE WHEN pending = 1 AND expires_at IS NULL THEN ? ELSE looked_at END
WHERE uid = ?
"""
_COMPLETE = f"""
SELECT {RECORD} FROM vtasks_group AS g WHERE uid = ? AND pending = 0 AND expires_at IS NULL
"""

_CLOSE = """
UPDATE vtasks_group SET looked_at = NULL, expires_at = keep + ?
WHERE uid = ? AND expires_at IS NULL
"""
_FIND = f"""
SELECT {RECORD} FROM vtasks_group AS g WHERE uid = ? AND (expires_at IS NULL OR expires_at > ?)
"""
_MEMBERS = "SELECT uid, state FROM vtasks_groupmember WHERE group_uid = ? ORDER BY n"

_EXPIRED = "SELECT uid FROM vtasks_group WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"
_DUE = f"""
SELECT {RECORD}, place FROM vtasks_group AS g WHERE looked_at <= ? ORDER BY looked_at LIMIT ?
"""
_PENDING = """
SELECT uid, state, n FROM vtasks_groupmember WHERE group_uid = ? AND state = 0 AND n > ?
ORDER BY n LIMIT ?
"""
_LOOKED = "UPDATE vtasks_group SET looked_at = ?, place = ? WHERE uid = ?"


def open_group(
    conn: Connection, group: NewGroup, messages: Sequence[Message], now: float
) -> Opened:
    """The record, its members and their messages."""
    values = (group.id, group.plan, len(messages), group.keep, now)
    if conn.execute(_OPEN, values).rowcount == 1:
        conn.executemany(_ADD, [(group.id, each.id, n) for n, each in enumerate(messages)])
    receipts = push.push(conn, messages, now)
    if dropped := refused(receipts):
        count = conn.executemany(_DROP, [(group.id, uid) for uid in dropped]).rowcount
        conn.execute(_FEWER, (count, group.id))
    return Opened(receipts, _complete(conn, group.id))


def mark(
    conn: Connection, marks: Sequence[Mark], *, waiting_only: bool, now: float
) -> list[GroupRecord]:
    """Note the ends; which of the groups are complete, and not closed."""
    for each in marks:
        values = (int(each.state), each.group, each.member)
        if conn.execute(_ENDED, values).rowcount:
            conn.execute(_COUNT, (now, each.group))
        elif not waiting_only:
            conn.execute(_CHANGED, values)
    complete = (_complete(conn, uid) for uid in dict.fromkeys(each.group for each in marks))
    return [found for found in complete if found is not None]


def _complete(conn: Connection, uid: str) -> GroupRecord | None:
    row = conn.execute(_COMPLETE, (uid,)).fetchone()
    return row and record(row)


def close(conn: Connection, ids: Sequence[str], now: float) -> None:
    """From now on they grow old."""
    conn.executemany(_CLOSE, [(now, uid) for uid in ids])


def find(conn: Connection, uid: str, *, members: bool, now: float) -> GroupRecord | None:
    """One group, None when it is not kept."""
    row = conn.execute(_FIND, (uid, now)).fetchone()
    return row and record(row, conn.execute(_MEMBERS, (uid,)) if members else ())


def due(conn: Connection, now: float, patience: float) -> list[GroupRecord] | None:
    """The answer to a sweep that finds nothing, else None. Reads only."""
    over = conn.execute(_EXPIRED, (now, 1)).fetchone()
    waiting = conn.execute(_DUE, (now - patience, 1)).fetchone()
    return None if over or waiting else []


def sweep(conn: Connection, limit: int, *, patience: float, now: float) -> list[GroupRecord]:
    """Delete what is past its time, and look at what has not been looked at."""
    over = conn.execute(_EXPIRED, (now, max(limit, 0))).fetchall()
    conn.executemany("DELETE FROM vtasks_groupmember WHERE group_uid = ?", over)
    conn.executemany("DELETE FROM vtasks_group WHERE uid = ?", over)
    found = []
    for row in conn.execute(_DUE, (now - patience, max(limit, 0))).fetchall():
        uid, place = row[0], row[-1]
        pending = conn.execute(_PENDING, (uid, place, LOOKS)).fetchall()
        after = pending[-1][-1] if len(pending) == LOOKS else -1
        conn.execute(_LOOKED, (now, after, uid))
        found.append(record(row, ((member, state) for member, state, _ in pending)))
    return found
