"""Lines that take turns in SQLite, as functions of a raw connection.

Each turn is a look into the index of lines, right behind the line that had the last one: what a
claim costs goes by how many it takes, not by how many lines there are, or how long one is.
"""

from sqlite3 import Connection
from typing import Any

from vtasks_asgi.core.line import KEYLESS
from vtasks_asgi.store.database.turns import Turns

_ANY = "SELECT 1 FROM vtasks_message WHERE queue = ? AND state = 3 LIMIT 1"

_BAND = """
SELECT max(priority) FROM (
    SELECT * FROM (SELECT priority FROM vtasks_message WHERE queue = ?1 AND state = 0
        ORDER BY priority DESC, seq LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT priority FROM vtasks_message WHERE queue = ?1 AND state = 3
        ORDER BY priority DESC, line, seq LIMIT 1))
"""

_AFTER = """
SELECT line, seq FROM vtasks_message WHERE queue = ? AND state = 3 AND priority = ? AND line > ?
ORDER BY line, seq LIMIT 1
"""

_KEYLESS = f"""
SELECT {KEYLESS}, seq FROM vtasks_message WHERE queue = ? AND state = 0 AND priority = ?
ORDER BY seq LIMIT 1
"""


def some(conn: Connection, queue: str) -> bool:
    """Does anything stand in a line of this queue? Then claims go by turns."""
    return conn.execute(_ANY, (queue,)).fetchone() is not None


def take(
    conn: Connection, queue: str, limit: int, turns: Turns, hold: str, values: tuple[Any, ...]
) -> list[tuple[Any, ...]]:
    """Take the best: by priority, then by turns. ``hold`` takes the message of one ``seq``."""
    rows: list[tuple[Any, ...]] = []
    while len(rows) < limit:
        (priority,) = conn.execute(_BAND, (queue,)).fetchone()
        if priority is None:
            break
        while len(rows) < limit and (turn := _next(conn, queue, priority, turns)) is not None:
            line, seq = turn
            turns.had(queue, priority, line)
            rows.append(conn.execute(hold, (*values, seq)).fetchone())
    return rows


def _next(conn: Connection, queue: str, priority: int, turns: Turns) -> tuple[int, int] | None:
    """Whose turn it is, and its oldest message: the next line, or after the last the first."""
    last = turns.last(queue, priority)
    found: tuple[int, int] | None = (
        conn.execute(_AFTER, (queue, priority, last)).fetchone()
        or conn.execute(_KEYLESS, (queue, priority)).fetchone()
        or conn.execute(_AFTER, (queue, priority, KEYLESS)).fetchone()
    )
    return found
