"""Unique keys in SQLite: a row says who took a key last; whether it still holds is looked up.

So a lock cannot leak: it ends with its message, however that ends. Deleting rows only saves space.
"""

from sqlite3 import Connection

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.base import Claim

_HELD = """
SELECT uid FROM vtasks_uniquekey WHERE queue = ?1 AND key = ?2 AND uid <> ?3
  AND (until > ?4 OR EXISTS (
    SELECT 1 FROM vtasks_message AS m WHERE m.uid = vtasks_uniquekey.uid AND m.unique_key = ?2))
"""

_TAKE = """
INSERT INTO vtasks_uniquekey (queue, key, uid, until) VALUES (?, ?, ?, ?)
ON CONFLICT (queue, key) DO UPDATE SET uid = excluded.uid, until = excluded.until
"""

# Without a maximum the sum is NULL, and the wait alone decides.
_MERGE = """
UPDATE vtasks_message
SET body = ?1, state = 1, run_at = min(?2, coalesce(created_at + ?3, ?2))
WHERE uid = ?4 AND attempt = 0
"""

_MERGE_INTO_FIRST = """
UPDATE vtasks_message SET body = ? WHERE uid = ? AND attempt = 0 AND run_at IS NULL
"""

_RELEASE = "DELETE FROM vtasks_uniquekey WHERE queue = ? AND key = ? AND uid = ? AND until <= ?"

_SWEEP = """
DELETE FROM vtasks_uniquekey WHERE (queue, key) IN (
    SELECT k.queue, k.key FROM vtasks_uniquekey AS k WHERE k.until <= ?
    AND NOT EXISTS (SELECT 1 FROM vtasks_message AS m WHERE m.uid = k.uid AND m.unique_key = k.key)
    LIMIT ?)
"""


def holder(conn: Connection, message: Message, now: float) -> str | None:
    """The other message that holds this one's unique key, if any."""
    if message.unique is None:
        return None
    row = conn.execute(_HELD, (message.queue, message.unique, message.id, now)).fetchone()
    return row[0] if row else None


def take(conn: Connection, message: Message, now: float) -> None:
    """Note that this message holds its key, which nobody else holds."""
    until = now + (message.keep_unique or 0.0)
    conn.execute(_TAKE, (message.queue, message.unique, message.id, until))


def merge(conn: Connection, message: Message, holder: str, now: float) -> bool:
    """Let the holder of a key take this message's body, if it has not been started."""
    if message.leads:
        if conn.execute(_MERGE_INTO_FIRST, (message.body, holder)).rowcount == 1:
            return True
    values = (message.body, message.due(now), message.debounce_max, holder)
    return conn.execute(_MERGE, values).rowcount == 1


def release(conn: Connection, claim: Claim, now: float) -> None:
    """Forget the key of a claim that has ended, unless it is kept for longer."""
    forget(conn, (claim.queue, claim.unique, claim.id), now)


def forget(conn: Connection, taken: tuple[str, str | None, str], now: float) -> None:
    """Forget a queue's key that this message has taken, unless it is kept for longer."""
    conn.execute(_RELEASE, (*taken, now))


def sweep(conn: Connection, limit: int, now: float) -> None:
    """Forget up to ``limit`` keys that nobody holds any more."""
    conn.execute(_SWEEP, (now, limit))
