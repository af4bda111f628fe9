"""Dead letters of what nobody holds, and the cap of all, as functions of a raw connection."""

from sqlite3 import Connection

from vtasks_asgi.store.database.sqlite import unique

_BURY = """
INSERT INTO vtasks_deadletter
    (uid, queue, priority, attempt, crashes, body, history, reason, finished_at, unique_key, note,
    limit_key, limit_count, limit_interval, line)
SELECT uid, queue, priority, attempt, crashes, body, history, ?2, ?3, unique_key, note,
    limit_key, limit_count, limit_interval, line
FROM vtasks_message WHERE seq = ?1
"""

_DELETE = "DELETE FROM vtasks_message WHERE seq = ? RETURNING queue, unique_key, uid"

_EVICT = """
DELETE FROM vtasks_deadletter WHERE seq IN (
    SELECT seq FROM vtasks_deadletter WHERE queue = ? ORDER BY seq DESC LIMIT -1 OFFSET ?)
"""


def bury(conn: Connection, seq: int, reason: str, now: float) -> None:
    """Give up on a message as it is, and forget its unique key."""
    conn.execute(_BURY, (seq, reason, now))
    queue, key, uid = conn.execute(_DELETE, (seq,)).fetchone()
    if key is not None:
        unique.forget(conn, (queue, key, uid), now)


def evict(conn: Connection, queue: str, cap: int) -> int:
    """Drop the dead letters over the cap, those buried first; how many there were."""
    return conn.execute(_EVICT, (queue, cap)).rowcount
