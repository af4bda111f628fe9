"""What workers do in MySQL, as functions of a step in a transaction of our own.

``turn`` is what each state is ordered by, and the index over it is walked in order: no statement
here sorts. A caller's open transaction is never waited for: its messages are skipped.
"""

from collections.abc import Iterable, Sequence
from secrets import token_hex

from vtasks_asgi.core.limits import HELD
from vtasks_asgi.core.outcome import CANCELLED, Dead, Done, Release, Retry
from vtasks_asgi.store.base import Claim, Claimed, Settled, Settlement, limited
from vtasks_asgi.store.database.limited import columns_of, limit_of
from vtasks_asgi.store.database.mysql import control, dead, limits, lines, unique
from vtasks_asgi.store.database.mysql.control import PAUSED_UNTIL
from vtasks_asgi.store.database.mysql.step import Row, Step, lists
from vtasks_asgi.store.database.pace import Paces
from vtasks_asgi.store.database.pauses import nothing
from vtasks_asgi.store.database.records import PROMOTE_LIMIT
from vtasks_asgi.store.database.turns import Turns

_FROM = "FROM vtasks_message FORCE INDEX (vtasks_message_turn)"

_NEXT_DUE = f"""
SELECT (SELECT turn {_FROM} WHERE queue = %s AND state = 1 ORDER BY turn LIMIT 1), {PAUSED_UNTIL},
    {lines.ANY}
"""

_DUE = f"""
SELECT seq {_FROM} WHERE queue = %s AND state = 1 AND turn <= %s
ORDER BY turn LIMIT %s FOR UPDATE SKIP LOCKED
"""

_PROMOTE = """
UPDATE vtasks_message SET state = CASE WHEN line IS NULL THEN 0 ELSE 3 END WHERE seq IN %s
"""

_COLUMNS = lines.COLUMNS
#: Where in a row the limit is.
_LIMIT = slice(10, 13)

_NEXT = f"""
SELECT {_COLUMNS} {_FROM} WHERE queue = %s AND state = 0
ORDER BY turn, seq LIMIT %s FOR UPDATE SKIP LOCKED
"""

_BY_AGE = (
    "FROM vtasks_message FORCE INDEX (PRIMARY) WHERE seq >= %s AND queue = %s AND state IN (0, 3)"
)

_FIRST = f"SELECT seq {_BY_AGE} ORDER BY seq LIMIT 1"

_LATER = f"SELECT {_COLUMNS} {_BY_AGE} ORDER BY seq LIMIT %s FOR UPDATE SKIP LOCKED"

_EXPIRED = f"""
SELECT {_COLUMNS}, worker, started_at, cancelled_at IS NOT NULL
{_FROM} WHERE queue = %s AND state = 2 AND turn <= %s
ORDER BY turn, seq LIMIT %s FOR UPDATE SKIP LOCKED
"""

_HOLD = "token = %s, worker = %s, started_at = %s, lease_until = %s WHERE seq IN %s"

_HELD = """
SELECT seq, token, cancelled_at IS NOT NULL FROM vtasks_message
WHERE seq IN %s ORDER BY seq FOR UPDATE
"""

_RESULT = """
INSERT INTO vtasks_result
    (uid, queue, priority, body, value, history, finished_at, expires_at, note)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

_BURY = """
INSERT INTO vtasks_deadletter
    (uid, queue, priority, attempt, crashes, body, history, reason, finished_at, unique_key, note,
    limit_key, limit_count, limit_interval, line)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

_LET_GO = """
token = NULL, worker = NULL, started_at = NULL, lease_until = NULL,
    state = CASE WHEN %s THEN 1 WHEN line IS NULL THEN 0 ELSE 3 END
"""
_BACK = f"UPDATE vtasks_message SET {_LET_GO}, run_at = %s, note = %s"
_RETRY = f"{_BACK}, history = %s WHERE seq = %s"
_RELEASE = f"{_BACK}, attempt = attempt - %s WHERE seq = %s"


def check_tables(step: Step) -> None:
    """Fail unless the migrations have run, those for MySQL included."""
    step.rows(f"SELECT 1 {_FROM} LIMIT 0")
    step.rows("SELECT 1 FROM vtasks_limit LIMIT 0")
    step.rows("SELECT 1 FROM vtasks_group LIMIT 0")


def claim(
    step: Step,
    queue: str,
    limit: int,
    *,
    worker: str,
    lease: float,
    paces: Paces,
    turns: Turns,
) -> Claimed:
    """Promote what is due, then take the best ``limit`` messages."""
    if paces.due.begin():
        pause, lined = _promote(step, queue, paces)
        paces.due.end()
    else:
        query = f"SELECT {PAUSED_UNTIL}, {lines.ANY}"
        [(pause, lined)] = step.rows(query, *control.pause_of(step, queue), queue)
    if pause is not None:
        return nothing(paces.next_due, control.paused_until(pause), step.now)
    found = _next(step, queue, max(limit, 0), paces, turns if lined else None)
    rows, gates = limits.sift(step, queue, found, _LIMIT)
    token = token_hex(8)
    _hold(step, "state = 2, attempt = attempt + 1", rows, token, worker, lease)
    claims = [_claim(queue, token, row) for row in rows]
    for claim in claims:
        claim.attempt += 1
    due = paces.next_due
    if gates is not None:
        taken = {claim.handle for claim in claims}
        denied = [row[0] for row in found if row[0] not in taken]
        later = limits.put_aside(step, queue, gates, denied)
        due = paces.next_due = min((at for at in (due, later) if at is not None), default=None)
    return Claimed(claims, None if due is None else max(0.0, due - step.now))


def _promote(step: Step, queue: str, paces: Paces) -> tuple[float | None, bool]:
    """Promote what is due, note when more is; what is found of a pause, and of lines."""
    paces.next_due, pause, lined = _next_due(step, queue)
    if paces.next_due is not None and paces.next_due <= step.now:
        due = step.rows(_DUE, queue, step.now, PROMOTE_LIMIT)
        for seqs in lists([seq for (seq,) in due]):
            step.run(_PROMOTE, seqs)
        paces.next_due, pause, lined = _next_due(step, queue)
    return pause, lined


def _next_due(step: Step, queue: str) -> tuple[float | None, float | None, bool]:
    values = (queue, *control.pause_of(step, queue), queue)
    [(next_due, pause, lined)] = step.rows(_NEXT_DUE, *values)
    return next_due if next_due is None or next_due < HELD else None, pause, bool(lined)


def _next(step: Step, queue: str, limit: int, paces: Paces, turns: Turns | None) -> Sequence[Row]:
    """Lock the best messages; by turns, if something stands in a line."""
    if paces.ready.begin():
        if turns is None:
            rows = step.rows(_NEXT, queue, limit)
        else:
            rows = lines.take(step, queue, limit, turns)
        if paces.ready.end():
            first = step.rows(_FIRST, paces.first, queue)
            paces.first = min((row[0] for row in (*first, *rows)), default=paces.first)
    else:
        rows = step.rows(_LATER, paces.first, queue, limit)
        if rows:
            paces.first = rows[-1][0]
    return rows


def _hold(
    step: Step, change: str, rows: Iterable[Row], token: str, worker: str, lease: float
) -> None:
    held = (token, worker, step.now, step.now + lease)
    for seqs in lists(sorted(row[0] for row in rows)):
        step.run(f"UPDATE vtasks_message SET {change}, {_HOLD}", *held, seqs)


def _claim(queue: str, token: str, row: Row) -> Claim:
    seq, uid, priority, attempt, crashes, body, history, run_at, key, note = row[:10]
    return Claim(
        *(uid, queue, body, priority, token, attempt, crashes, history, run_at),
        *(None, None, seq, key, note, False, limit_of(*row[_LIMIT])),
    )


def reclaim(
    step: Step, queue: str, limit: int, *, worker: str, lease: float, paces: Paces
) -> list[Claim]:
    """Take over expired leases; each claim names who lost it, and since when it was held."""
    if not paces.expired.begin():
        return []
    rows = step.rows(_EXPIRED, queue, step.now, max(limit, 0))
    paces.expired.end()
    limits.let_go(step, limits.neglected(step, queue))
    token = token_hex(8)
    _hold(step, "crashes = crashes + 1", rows, token, worker, lease)
    claims = [_claim(queue, token, row) for row in rows]
    for claim, row in zip(claims, rows, strict=True):
        claim.crashes += 1
        claim.lost_worker, claim.lost_at, cancelled = row[_LIMIT.stop :]
        claim.cancelled = bool(cancelled)
    return claims


def _held(step: Step, claims: Iterable[Claim]) -> dict[tuple[int, str], bool]:
    """Lock these messages; each one's token as it is now, and whether it was cancelled.

    Always in the same order: no deadlock.
    """
    held: dict[tuple[int, str], bool] = {}
    for seqs in lists(sorted({claim.handle for claim in claims})):
        held |= {(seq, token): bool(marked) for seq, token, marked in step.rows(_HELD, seqs)}
    return held


def extend(step: Step, claims: Sequence[Claim], lease: float) -> list[Claim]:
    """Push the leases' ends forward; returns the claims whose token no longer holds."""
    held = _held(step, claims)
    kept = [claim.handle for claim in claims if (claim.handle, claim.token) in held]
    for seqs in lists(kept):
        query = "UPDATE vtasks_message SET lease_until = %s WHERE seq IN %s"
        step.run(query, step.now + lease, seqs)
    return [claim for claim in claims if (claim.handle, claim.token) not in held]


def save(step: Step, claim: Claim) -> bool:
    """Write the claim's note; False when the token no longer holds."""
    held = (claim.handle, claim.token) in _held(step, [claim])
    if held:
        step.run("UPDATE vtasks_message SET note = %s WHERE seq = %s", claim.note, claim.handle)
    return held


def settle(step: Step, settlements: Sequence[Settlement], cap: int) -> Settled:
    """Write every outcome whose token still holds."""
    settled = Settled()
    held = _held(step, (settlement.claim for settlement in settlements))
    good: list[Settlement] = []
    for settlement in settlements:
        claim = settlement.claim
        # Whoever comes second has lost it.
        marked = held.pop((claim.handle, claim.token), None)
        if marked is None:
            settled.lost.append(claim)
            continue
        good.append(settlement)
        if marked and isinstance(settlement.outcome, Retry | Release):
            settled.cancelled.append(claim)
    _finish(step, [s for s in good if isinstance(s.outcome, Done | Dead)])
    for settlement in good:
        _put_back(step, settlement)
    dead.bury(step, [claim.handle for claim in settled.cancelled], CANCELLED)
    limits.let_go(step, limited(settlements))
    buried = {s.claim.queue for s in good if isinstance(s.outcome, Dead)}
    for queue in buried | {claim.queue for claim in settled.cancelled}:
        if evicted := dead.evict(step, queue, cap):
            settled.evicted[queue] = evicted
    return settled


def _finish(step: Step, settlements: Sequence[Settlement]) -> None:
    """Delete messages that have ended; keep results, dead letters and no unique keys."""
    stood = lines.of(step, [s.claim.handle for s in settlements if isinstance(s.outcome, Dead)])
    for seqs in lists([settlement.claim.handle for settlement in settlements]):
        step.run("DELETE FROM vtasks_message WHERE seq IN %s", seqs)
    results, letters, keys = [], [], []
    for settlement in settlements:
        claim, outcome = settlement.claim, settlement.outcome
        if isinstance(outcome, Dead):
            letters.append((*_letter(claim, outcome, step.now), stood.get(claim.handle)))
        elif isinstance(outcome, Done) and outcome.ttl > 0:
            results.append(_result(claim, outcome, step.now))
        if claim.unique is not None:
            keys.append((claim.queue, claim.unique, claim.id))
    step.insert(_RESULT, results)
    step.insert(_BURY, letters)
    unique.forget(step, keys)


def _result(claim: Claim, outcome: Done, now: float) -> Row:
    kept = (outcome.value, outcome.history, now, now + outcome.ttl, claim.note)
    return claim.id, claim.queue, claim.priority, claim.body, *kept


def _letter(claim: Claim, outcome: Dead, now: float) -> Row:
    tries = (claim.attempt, claim.crashes)
    kept = (outcome.history, outcome.reason, now, claim.unique, claim.note)
    limit = columns_of(claim.limit)
    return claim.id, claim.queue, claim.priority, *tries, claim.body, *kept, *limit


def _put_back(step: Step, settlement: Settlement) -> None:
    claim, outcome = settlement.claim, settlement.outcome
    if isinstance(outcome, Retry | Release):
        wait = (outcome.delay > 0, step.now + outcome.delay, claim.note)
        if isinstance(outcome, Retry):
            step.run(_RETRY, *wait, outcome.history, claim.handle)
        else:
            # A reclaimed one was counted by the worker that lost it.
            step.run(_RELEASE, *wait, claim.lost_at is None, claim.handle)
