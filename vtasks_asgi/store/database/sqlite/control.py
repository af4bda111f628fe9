"""What operators do to messages, queues and tasks in SQLite, as functions of a raw connection."""

from collections.abc import Sequence
from math import inf
from sqlite3 import Connection

from vtasks_asgi.core.outcome import CANCELLED
from vtasks_asgi.store.base import Claim
from vtasks_asgi.store.control import Cancel, Cancellation, Paused
from vtasks_asgi.store.database import pauses
from vtasks_asgi.store.database.pauses import QUEUE
from vtasks_asgi.store.database.records import RUNNING
from vtasks_asgi.store.database.sqlite import dead

_FIND = "SELECT seq, queue, state FROM vtasks_message WHERE uid = ?"

_FINISHED = """
SELECT EXISTS (SELECT 1 FROM vtasks_deadletter WHERE uid = ?1)
    OR EXISTS (SELECT 1 FROM vtasks_result WHERE uid = ?1 AND expires_at > ?2)
"""

_MARK = """
UPDATE vtasks_message SET cancelled_at = ? WHERE seq = ? AND cancelled_at IS NULL
"""

_MARKED = """
SELECT 1 FROM vtasks_message WHERE seq = ? AND token = ? AND cancelled_at IS NOT NULL
"""

_PAUSE = """
INSERT INTO vtasks_pause (kind, name, until) VALUES (?, ?, ?)
ON CONFLICT (kind, name) DO UPDATE SET until = excluded.until
"""

_RESUME = "DELETE FROM vtasks_pause WHERE kind = ? AND name = ? RETURNING until"

_IN_FORCE = "FROM vtasks_pause WHERE (until IS NULL OR until > ?)"
_PAUSED = f"SELECT kind, name, until {_IN_FORCE}"
_PAUSED_NAMES = f"SELECT name {_IN_FORCE} AND kind = ?"
_PAUSED_UNTIL = f"SELECT until {_IN_FORCE} AND kind = ? AND name = ?"


def cancel(conn: Connection, ids: Sequence[str], cap: int, now: float) -> Cancellation:
    """Bury what waits, mark what runs."""
    cancellation = Cancellation()
    for uid in dict.fromkeys(ids):
        cancellation.outcomes[uid] = Cancel.UNKNOWN
        if not uid.isascii():
            continue
        row = conn.execute(_FIND, (uid,)).fetchone()
        if row is None:
            if conn.execute(_FINISHED, (uid, now)).fetchone()[0]:
                cancellation.outcomes[uid] = Cancel.FINISHED
            continue
        seq, queue, state = row
        if state == RUNNING:
            conn.execute(_MARK, (now, seq))
            cancellation.outcomes[uid] = Cancel.ASKED
        else:
            dead.bury(conn, seq, CANCELLED, now)
            cancellation.outcomes[uid] = Cancel.CANCELLED
            cancellation.buried[queue] = cancellation.buried.get(queue, 0) + 1
    for queue in cancellation.buried:
        if evicted := dead.evict(conn, queue, cap):
            cancellation.evicted[queue] = evicted
    return cancellation


def cancelled(conn: Connection, claims: Sequence[Claim]) -> list[Claim]:
    """Those that still hold and are marked. Reads only."""
    return [
        claim
        for claim in claims
        if conn.execute(_MARKED, (claim.handle, claim.token)).fetchone() is not None
    ]


def pause(conn: Connection, kind: int, name: str, until: float | None) -> None:
    """Note a pause, or when it ends from now on."""
    conn.execute(_PAUSE, (kind, name, until))


def resume(conn: Connection, kind: int, name: str, now: float) -> bool:
    """Forget a pause; was it in force?"""
    row = conn.execute(_RESUME, (kind, name)).fetchone()
    return row is not None and (row[0] is None or row[0] > now)


def paused(conn: Connection, now: float) -> Paused:
    """All that is paused."""
    return pauses.paused(conn.execute(_PAUSED, (now,)))


def paused_names(conn: Connection, kind: int, now: float) -> set[str]:
    """The queues, or tasks, that are paused."""
    return {name for (name,) in conn.execute(_PAUSED_NAMES, (now, kind))}


def paused_until(conn: Connection, queue: str, now: float) -> float | None:
    """When the pause of this queue ends, infinity for never by itself; None for "not paused"."""
    row = conn.execute(_PAUSED_UNTIL, (now, QUEUE, queue)).fetchone()
    if row is None:
        return None
    return inf if row[0] is None else float(row[0])
