"""The SQLite verbs as functions of a raw connection inside an open write transaction.

Nothing here begins, commits, waits or reads a clock: ``now`` is an argument (epoch seconds).
The same functions run on the writer's connection and on Django's, inside the caller's
transaction.
"""

from collections.abc import Sequence
from secrets import token_hex
from sqlite3 import Connection
from typing import Any

from vtasks_asgi.core.limits import HELD
from vtasks_asgi.core.outcome import CANCELLED, Dead, Done, Release, Retry
from vtasks_asgi.store.base import (
    Claim,
    Claimed,
    Settled,
    Settlement,
    limited,
)
from vtasks_asgi.store.database.limited import columns_of, limit_of
from vtasks_asgi.store.database.pauses import nothing
from vtasks_asgi.store.database.records import PROMOTE_LIMIT
from vtasks_asgi.store.database.sqlite import control, dead, limits, lines, unique
from vtasks_asgi.store.database.turns import Turns

_NEXT_DUE = "SELECT min(run_at) FROM vtasks_message WHERE queue = ? AND state = 1"

_PROMOTE = """
UPDATE vtasks_message SET state = CASE WHEN line IS NULL THEN 0 ELSE 3 END WHERE seq IN (
    SELECT seq FROM vtasks_message WHERE queue = ? AND state = 1 AND run_at <= ?
    ORDER BY run_at LIMIT ?)
"""

_COLUMNS = (
    "seq, uid, priority, attempt, crashes, body, history, run_at, unique_key, note,"
    " limit_key, limit_count, limit_interval"
)

_HOLD = """
UPDATE vtasks_message
SET state = 2, attempt = attempt + 1, token = ?, worker = ?, started_at = ?, lease_until = ?
"""

_CLAIM_ONE = f"{_HOLD} WHERE seq = ? RETURNING {_COLUMNS}"

_CLAIM = f"""{_HOLD}
WHERE seq IN (
    SELECT seq FROM vtasks_message WHERE queue = ? AND state = 0
    ORDER BY priority DESC, seq LIMIT ?)
RETURNING {_COLUMNS}
"""

_EXTEND = "UPDATE vtasks_message SET lease_until = ? WHERE seq = ? AND token = ?"

_SAVE = "UPDATE vtasks_message SET note = ? WHERE seq = ? AND token = ?"

_DELETE = "DELETE FROM vtasks_message WHERE seq = ? AND token = ?"

_TAKE_OUT = f"{_DELETE} RETURNING line"

_RESULT = """
INSERT INTO vtasks_result
    (uid, queue, priority, body, value, history, finished_at, expires_at, note)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_BURY = """
INSERT INTO vtasks_deadletter
    (uid, queue, priority, attempt, crashes, body, history, reason, finished_at, unique_key, note,
    limit_key, limit_count, limit_interval, line)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_LET_GO = """
token = NULL, worker = NULL, started_at = NULL, lease_until = NULL,
    state = CASE WHEN ? THEN 1 WHEN line IS NULL THEN 0 ELSE 3 END
"""

_RETRY = f"""
UPDATE vtasks_message SET {_LET_GO}, run_at = ?, note = ?, history = ?
WHERE seq = ? AND token = ? RETURNING cancelled_at
"""

_RELEASE = f"""
UPDATE vtasks_message SET {_LET_GO}, run_at = ?, note = ?, attempt = attempt - ?
WHERE seq = ? AND token = ? RETURNING cancelled_at
"""

_EXPIRED = """
SELECT seq, worker, started_at, cancelled_at IS NOT NULL FROM vtasks_message
WHERE queue = ? AND state = 2 AND lease_until <= ? ORDER BY lease_until LIMIT ?
"""

_RECLAIM = f"""
UPDATE vtasks_message
SET crashes = crashes + 1, token = ?, worker = ?, started_at = ?, lease_until = ?
WHERE seq = ? RETURNING {_COLUMNS}
"""


def due(conn: Connection, queue: str, now: float) -> Claimed | None:
    """The answer to a claim when nothing is due, or all is paused, else None. Reads only."""
    ready = "SELECT 1 FROM vtasks_message WHERE queue = ? AND state = 0 LIMIT 1"
    paused_until = control.paused_until(conn, queue, now)
    if paused_until is None and conn.execute(ready, (queue,)).fetchone():
        return None
    if paused_until is None and lines.some(conn, queue):
        return None
    next_due = _next_due(conn, queue)
    if next_due is not None and next_due <= now:
        return None
    return nothing(next_due, paused_until, now)


def claim(
    conn: Connection,
    queue: str,
    limit: int,
    *,
    worker: str,
    lease: float,
    now: float,
    turns: Turns,
) -> Claimed:
    """Promote what is due, then take the best ``limit`` messages."""
    next_due = _next_due(conn, queue)
    if next_due is not None and next_due <= now:
        conn.execute(_PROMOTE, (queue, now, PROMOTE_LIMIT))
        next_due = _next_due(conn, queue)
    paused_until = control.paused_until(conn, queue, now)
    if paused_until is not None:
        return nothing(next_due, paused_until, now)
    token = token_hex(8)
    held = (token, worker, now, now + lease)
    if lines.some(conn, queue):
        rows = lines.take(conn, queue, limit, turns, _CLAIM_ONE, held)
    else:
        rows = conn.execute(_CLAIM, (*held, queue, max(limit, 0))).fetchall()
        rows.sort(key=_by_priority)  # RETURNING promises no order
    claims = [_claim(queue, token, row) for row in rows]
    if any(claim.limit is not None for claim in claims):
        kept = limits.sift(conn, queue, claims, now)
        next_due = _next_due(conn, queue) if len(kept) == len(claims) else now
        claims = kept
    return Claimed(claims, None if next_due is None else max(0.0, next_due - now))


def _next_due(conn: Connection, queue: str) -> float | None:
    """The first date of what is delayed; what a limit holds back has none."""
    due: float | None = conn.execute(_NEXT_DUE, (queue,)).fetchone()[0]
    return due if due is None or due < HELD else None


def _by_priority(row: tuple[Any, ...]) -> tuple[int, int]:
    return -row[2], row[0]


def _claim(queue: str, token: str, row: tuple[Any, ...]) -> Claim:
    seq, uid, priority, attempt, crashes, body, history, run_at, key, note, *limit = row
    return Claim(
        *(uid, queue, body, priority, token, attempt, crashes, history, run_at),
        *(None, None, seq, key, note, False, limit_of(*limit)),
    )


def extend(conn: Connection, claims: Sequence[Claim], lease: float, now: float) -> list[Claim]:
    """Push the leases' ends forward; returns the claims whose token no longer holds."""
    return [
        claim
        for claim in claims
        if conn.execute(_EXTEND, (now + lease, claim.handle, claim.token)).rowcount != 1
    ]


def save(conn: Connection, claim: Claim) -> bool:
    """Write the claim's note; False when the token no longer holds."""
    return conn.execute(_SAVE, (claim.note, claim.handle, claim.token)).rowcount == 1


def settle(conn: Connection, settlements: Sequence[Settlement], cap: int, now: float) -> Settled:
    """Write every outcome whose token still holds."""
    settled = Settled()
    done = [s for s in settlements if type(s.outcome) is Done]
    if done:
        settled.lost = _finish(conn, done, now)
    buried = set()
    for settlement in settlements:
        claim, outcome = settlement.claim, settlement.outcome
        if isinstance(outcome, Dead):
            if _bury(conn, claim, outcome, now):
                buried.add(claim.queue)
            else:
                settled.lost.append(claim)
        elif isinstance(outcome, Retry | Release):
            _put_back(conn, claim, outcome, now, settled)
    limits.let_go(conn, limited(settlements), now)
    for queue in buried | {claim.queue for claim in settled.cancelled}:
        if evicted := dead.evict(conn, queue, cap):
            settled.evicted[queue] = evicted
    return settled


def _finish(conn: Connection, done: Sequence[Settlement], now: float) -> list[Claim]:
    """Delete the messages and keep their results; returns the claims whose token had passed on."""
    lost: list[Claim] = []
    rows: list[tuple[Any, ...]] = []
    for settlement in done:
        claim, outcome = settlement.claim, settlement.outcome
        if conn.execute(_DELETE, (claim.handle, claim.token)).rowcount != 1:
            lost.append(claim)
            continue
        if claim.unique is not None:
            unique.release(conn, claim, now)
        if isinstance(outcome, Done) and outcome.ttl > 0:
            rows.append(_result_row(claim, outcome, now))
    if rows:
        conn.executemany(_RESULT, rows)
    return lost


def _result_row(claim: Claim, outcome: Done, now: float) -> tuple[Any, ...]:
    return (
        claim.id,
        claim.queue,
        claim.priority,
        claim.body,
        outcome.value,
        outcome.history,
        now,
        now + outcome.ttl,
        claim.note,
    )


def _bury(conn: Connection, claim: Claim, outcome: Dead, now: float) -> bool:
    """Make a dead letter of it; False when the token no longer holds."""
    row = conn.execute(_TAKE_OUT, (claim.handle, claim.token)).fetchone()
    if row is None:
        return False
    conn.execute(
        _BURY,
        (
            claim.id,
            claim.queue,
            claim.priority,
            claim.attempt,
            claim.crashes,
            claim.body,
            outcome.history,
            outcome.reason,
            now,
            claim.unique,
            claim.note,
            *columns_of(claim.limit),
            *row,
        ),
    )
    if claim.unique is not None:
        unique.release(conn, claim, now)
    return True


def _put_back(
    conn: Connection, claim: Claim, outcome: Retry | Release, now: float, settled: Settled
) -> None:
    """Let it wait again, or bury it if it was cancelled."""
    wait = (outcome.delay > 0, now + outcome.delay, claim.note)
    key = (claim.handle, claim.token)
    if isinstance(outcome, Retry):
        row = conn.execute(_RETRY, (*wait, outcome.history, *key)).fetchone()
    else:
        counted = claim.lost_at is None  # a reclaimed one was counted by the worker that lost it
        row = conn.execute(_RELEASE, (*wait, counted, *key)).fetchone()
    if row is None:
        settled.lost.append(claim)
    elif row[0] is not None:
        dead.bury(conn, claim.handle, CANCELLED, now)
        settled.cancelled.append(claim)


def expired(conn: Connection, queue: str, now: float) -> list[Claim] | None:
    """The answer to a reclaim when there is nothing to do, else None. Reads only."""
    lost = conn.execute(_EXPIRED, (queue, now, 1)).fetchone()
    return None if lost or limits.neglected(conn, queue, now) else []


def reclaim(
    conn: Connection, queue: str, limit: int, *, worker: str, lease: float, now: float
) -> list[Claim]:
    """Take over expired leases; each claim names who lost it, and since when it was held."""
    limits.let_go(conn, limits.neglected(conn, queue, now), now)
    token = token_hex(8)
    claims = []
    for seq, *lost in conn.execute(_EXPIRED, (queue, now, max(limit, 0))).fetchall():
        values = (token, worker, now, now + lease, seq)
        claim = _claim(queue, token, conn.execute(_RECLAIM, values).fetchone())
        claim.lost_worker, claim.lost_at, cancelled = lost
        claim.cancelled = bool(cancelled)
        claims.append(claim)
    return claims
