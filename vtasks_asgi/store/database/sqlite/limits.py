"""Limits by key in SQLite, as functions of a raw connection inside a write transaction.

There is one writer, so a key needs no lock: its row keeps its pace, and whether messages wait.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from sqlite3 import Connection

from vtasks_asgi.core.limits import HELD, HOLD_LIMIT, Gate, Gates, Limit
from vtasks_asgi.store.base import Claim
from vtasks_asgi.store.database.limited import bounded, some_keys
from vtasks_asgi.store.database.records import LINED, READY

_OF_KEY = "FROM vtasks_message WHERE queue = ?1 AND limit_key = ?2 AND"

_RUNNING = f"SELECT count(*) {_OF_KEY} state = 2 AND token <> ?3"

_TAT = "SELECT tat FROM vtasks_limit WHERE queue = ? AND key = ?"

_KEEP = """
INSERT INTO vtasks_limit (queue, key, tat, held) VALUES (?, ?, ?, ?)
ON CONFLICT (queue, key) DO UPDATE SET tat = excluded.tat, held = max(held, excluded.held)
"""

_PUT_BACK = f"""
UPDATE vtasks_message SET token = NULL, worker = NULL, started_at = NULL, lease_until = NULL,
    state = 1, run_at = {HELD!r}, attempt = attempt - 1
WHERE seq = ?
"""

# The last first, so that those that stay ready in a flood are those that should be. That is how
# the index has them, but for what has been tried before.
_PUT_ASIDE = f"""
UPDATE vtasks_message SET state = 1, run_at = {HELD!r} WHERE seq IN (
    SELECT seq {_OF_KEY} state = ?5 AND limit_count IS ?3 AND limit_interval IS ?4
    ORDER BY run_at DESC, priority, seq DESC LIMIT {HOLD_LIMIT})
"""
_PUT_ASIDE_DUE = f"""
UPDATE vtasks_message SET state = 1, run_at = {HELD!r} WHERE seq IN (
    SELECT seq {_OF_KEY} state = 1 AND run_at <= ?5 AND limit_count IS ?3 AND limit_interval IS ?4
    LIMIT {HOLD_LIMIT})
"""

_WAITING = f"{_OF_KEY} state = 1 AND run_at = {HELD!r} ORDER BY priority DESC, seq LIMIT"
_FIRST = f"SELECT limit_count, limit_interval {_WAITING} 1"

_AHEAD = f"""
SELECT (SELECT count(*) FROM (SELECT 1 {_OF_KEY} state IN (0, 3) LIMIT ?4))
     + (SELECT count(*) FROM (SELECT 1 {_OF_KEY} state = 1 AND run_at <= ?3 LIMIT ?4))
"""

_LET_GO = f"""
UPDATE vtasks_message SET run_at = ?4,
    state = CASE WHEN ?3 THEN 1 WHEN line IS NULL THEN 0 ELSE 3 END
WHERE seq IN (SELECT seq {_WAITING} ?5)
"""

_NOBODY_WAITS = "UPDATE vtasks_limit SET held = 0 WHERE queue = ? AND key = ? AND held"

_WAITED_FOR = """
SELECT key FROM vtasks_limit WHERE queue = ? AND held = 1 AND key >= ? ORDER BY key LIMIT ?
"""

_SWEEP = """
DELETE FROM vtasks_limit WHERE (queue, key) IN (
    SELECT queue, key FROM vtasks_limit WHERE held = 0 AND tat <= ? LIMIT ?)
"""


@dataclass(slots=True)
class _Turn:
    """So many of those that wait for a key, as ``anybody`` does, should be due at that time."""

    anybody: bool
    count: int = 0
    due: float = 0.0


def sift(conn: Connection, queue: str, claims: Sequence[Claim], now: float) -> list[Claim]:
    """Those of one claim that may start; the others are put aside, with what is like them."""
    counted, token = bounded(claims), claims[0].token
    gates = Gates(lambda key: _gate(conn, queue, key, now, key in counted, token))
    kept = [c for c in claims if c.limit is None or gates.admit(c.limit)]
    admitted = {claim.handle for claim in kept}
    others = [(claim.handle,) for claim in claims if claim.handle not in admitted]
    conn.executemany(_PUT_BACK, others)
    denied = {limit.key for limit in gates.denied}
    for key, gate in gates.passed.items():
        if gate.tat or key in denied:
            conn.execute(_KEEP, (queue, key, gate.tat, key in denied))
    for limit in gates.denied:
        due, alike = gates.passed[limit.key].due(limit), (limit.concurrency, limit.interval)
        for state in (READY, LINED):
            conn.execute(_PUT_ASIDE, (queue, limit.key, *alike, state))
        conn.execute(_PUT_ASIDE_DUE, (queue, limit.key, *alike, due))
    let_go(conn, ((queue, key) for key in gates.keys), now)
    return kept


def _gate(
    conn: Connection, queue: str, key: str, now: float, counted: bool, token: str = ""
) -> Gate:
    """A key as it is, those claimed with this token aside."""
    running = conn.execute(_RUNNING, (queue, key, token)).fetchone()[0] if counted else 0
    row = conn.execute(_TAT, (queue, key)).fetchone()
    return Gate(now, running, row[0] if row else 0.0)


def _turn(conn: Connection, queue: str, key: str, now: float) -> _Turn:
    row = conn.execute(_FIRST, (queue, key)).fetchone()
    if row is None:
        return _Turn(False)
    limit = Limit(key, *row)
    gate = _gate(conn, queue, key, now, limit.concurrency is not None)
    due, wanted = gate.due(limit), gate.wanted(limit)
    if wanted:
        wanted -= conn.execute(_AHEAD, (queue, key, due, wanted)).fetchone()[0]
    return _Turn(True, max(0, wanted), due)


def let_go(conn: Connection, keys: Iterable[tuple[str, str]], now: float) -> None:
    """Give those that wait for these keys, each of a queue, dates: as many as there should be."""
    for queue, key in keys:
        turn = _turn(conn, queue, key, now)
        if turn.count:
            conn.execute(_LET_GO, (queue, key, turn.due > now, turn.due, turn.count))
        elif not turn.anybody:
            conn.execute(_NOBODY_WAITS, (queue, key))


def neglected(conn: Connection, queue: str, now: float) -> list[tuple[str, str]]:
    """Keys whose messages wait for somebody who is no longer there. Reads only."""
    waited_for = some_keys(
        lambda start, limit: conn.execute(_WAITED_FOR, (queue, start, limit)).fetchall()
    )
    turns = ((key, _turn(conn, queue, key, now)) for (key,) in waited_for)
    return [(queue, key) for key, turn in turns if turn.count or not turn.anybody]


def sweep(conn: Connection, limit: int, now: float) -> None:
    """Forget up to ``limit`` keys whose pace is over."""
    conn.execute(_SWEEP, (now, limit))
