"""Limits by key in PostgreSQL, as plans of several steps: they need a transaction.

A key's row is its lock, taken in one order by everybody. What is asked afterwards is asked in a
later statement, which under READ COMMITTED sees what those have done for whom the lock had to wait.
Messages are never waited for with a key locked: what somebody else has locked is skipped.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from secrets import token_hex

from vtasks_asgi.core.limits import HELD, HOLD_LIMIT, Gate, Gates, Limit
from vtasks_asgi.store.base import Claim, Settlement
from vtasks_asgi.store.database.limited import SWEEP_LIMIT, limit_of
from vtasks_asgi.store.database.postgres.arrays import float8s, int8s, texts
from vtasks_asgi.store.database.postgres.keys import NOW, Key
from vtasks_asgi.store.database.postgres.plan import Plan, Query, Row

COLUMNS = "m.limit_key, m.limit_count, m.limit_interval"

_HELD = f"{HELD!r}::float8"
_ADD = "INSERT INTO vtasks_limit AS k (queue, key, tat, held)"

# Locking rewrites the row: FOR UPDATE could find it deleted in the meantime.
_LOCKED = """
ON CONFLICT (queue, key) DO UPDATE SET held = k.held RETURNING k.key, k.tat
"""
_LOCK = f"""
{_ADD} SELECT w.queue, w.key, 0, false
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(queue, key, n) ORDER BY w.n {_LOCKED}
"""
_LOCK_OF = f"""
{_ADD} SELECT queue, limit_key, 0, false FROM vtasks_message
WHERE seq = ANY ($1) GROUP BY queue, limit_key ORDER BY limit_key COLLATE "C" {_LOCKED}
"""

_CANDIDATES = f"""
SELECT m.seq, {COLUMNS} FROM vtasks_message AS m WHERE m.seq = ANY ($1) AND m.state = 0
ORDER BY m.priority DESC, m.seq FOR UPDATE SKIP LOCKED
"""

_RUNNING = """
SELECT m.limit_key, count(*) FROM vtasks_message AS m
WHERE m.queue = $1 AND m.state = 2 AND m.limit_key = ANY (ARRAY(
    SELECT limit_key FROM vtasks_message WHERE seq = ANY ($2) AND limit_count IS NOT NULL))
GROUP BY m.limit_key
"""

_CLOCK = f"WITH {NOW} SELECT now FROM t"

_PUT_BACK = f"UPDATE vtasks_message SET state = 1, run_at = {_HELD} WHERE seq = ANY ($1)"
_TAKE_BACK = f"""
UPDATE vtasks_message SET state = 1, run_at = {_HELD}, attempt = attempt - 1,
    token = NULL, worker = NULL, started_at = NULL, lease_until = NULL
WHERE seq = ANY ($1)
"""

# The last first, so that those that stay ready in a flood are those that should be.
_PUT_ASIDE = f"""
UPDATE vtasks_message SET state = 1, run_at = {_HELD} WHERE seq = ANY (ARRAY(
    SELECT seq FROM vtasks_message WHERE queue = $1 AND limit_key = $2 AND state = 0
      AND limit_count IS NOT DISTINCT FROM $3::int4
      AND limit_interval IS NOT DISTINCT FROM $4::float8
    ORDER BY run_at DESC, priority, seq DESC LIMIT {HOLD_LIMIT} FOR UPDATE SKIP LOCKED))
"""
_PUT_ASIDE_LINED = _PUT_ASIDE.replace("state = 0", "state = 3")
_PUT_ASIDE_DUE = _PUT_ASIDE.replace("state = 0", "state = 1 AND run_at <= $5::float8")

_KEEP = """
UPDATE vtasks_limit AS k SET tat = w.tat, held = k.held OR w.denied = 1
FROM unnest($2::text[], $3::float8[], $4::int8[]) AS w(key, tat, denied)
WHERE k.queue = $1 AND k.key = w.key
"""

_GIVEN = "unnest($1::text[], $2::text[])"
_WAITED_FOR = f"""
(SELECT queue, key FROM vtasks_limit WHERE queue = $1 AND held AND key >= $2
 ORDER BY key LIMIT {SWEEP_LIMIT + 1})
"""

#: Of each key: its row, the limit of the first that waits, and how many run, if that counts.
_LOOK = f"""
WITH {NOW}
SELECT w.queue, w.key, t.now, k.tat, f.seq, f.limit_count, f.limit_interval, r.running
FROM %s AS w(queue, key) CROSS JOIN t
JOIN vtasks_limit AS k ON k.queue = w.queue AND k.key = w.key
LEFT JOIN LATERAL (
    SELECT m.seq, m.limit_count, m.limit_interval FROM vtasks_message AS m
    WHERE m.queue = w.queue AND m.limit_key = w.key AND m.state = 1 AND m.run_at = {_HELD}
    ORDER BY m.priority DESC, m.seq LIMIT 1) AS f ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS running FROM vtasks_message AS m
    WHERE m.queue = w.queue AND m.limit_key = w.key AND m.state = 2
      AND f.limit_count IS NOT NULL) AS r ON true
"""

_TURNS = "unnest($1::text[], $2::text[], $3::float8[], $4::int8[]) AS w(queue, key, due, wanted)"

#: How many more of a key should be due then. A LIMIT may depend on the row outside.
_MISSING = """
greatest(0, w.wanted - (SELECT count(*) FROM (
    SELECT 1 FROM vtasks_message AS m
    WHERE m.queue = w.queue AND m.limit_key = w.key AND m.state IN (0, 3)
    LIMIT w.wanted) AS ready)
  - (SELECT count(*) FROM (
    SELECT 1 FROM vtasks_message AS m
    WHERE m.queue = w.queue AND m.limit_key = w.key AND m.state = 1 AND m.run_at <= w.due
    LIMIT w.wanted) AS dated))
"""

_COUNT = f"SELECT w.queue, w.key FROM {_TURNS} WHERE {_MISSING} > 0"

_LET_GO = f"""
WITH next AS MATERIALIZED (
    SELECT n.seq, w.due FROM {_TURNS} CROSS JOIN LATERAL (
        SELECT m.seq FROM vtasks_message AS m
        WHERE m.queue = w.queue AND m.limit_key = w.key AND m.state = 1 AND m.run_at = {_HELD}
        ORDER BY m.priority DESC, m.seq LIMIT {_MISSING} FOR UPDATE OF m SKIP LOCKED) AS n)
UPDATE vtasks_message AS m SET run_at = next.due,
    state = CASE WHEN next.due > $5 THEN 1 WHEN m.line IS NULL THEN 0 ELSE 3 END
FROM next WHERE m.seq = next.seq
RETURNING m.run_at
"""

_NOBODY_WAITS = f"""
UPDATE vtasks_limit AS k SET held = false FROM {_GIVEN} AS w(queue, key)
WHERE k.queue = w.queue AND k.key = w.key AND k.held
"""

_SWEEP = f"""
WITH {NOW}
DELETE FROM vtasks_limit WHERE (queue, key) IN (
    SELECT queue, key FROM vtasks_limit WHERE NOT held AND tat <= (SELECT now FROM t)
    LIMIT $1 FOR UPDATE SKIP LOCKED)
"""


@dataclass(slots=True)
class _Turn:
    """So many of those that wait for a key should be due at that time; None: nobody waits."""

    of: Key
    wanted: int | None
    due: float
    now: float


def admit(
    queue: str, seqs: Sequence[int], columns: str, *, worker: str, lease: float
) -> Plan[tuple[list[Row], str, float | None]]:
    """Take those of these ready messages that may start, and put the others aside.

    The rows of those taken, their token, and in how many seconds more will be due.
    """
    among = int8s(seqs)
    locked, candidates, running, [(now,)] = yield [
        Query(_LOCK_OF, (among,)),
        Query(_CANDIDATES, (among,)),
        Query(_RUNNING, (queue, among)),
        Query(_CLOCK),
    ]
    tats: dict[str, float] = dict(locked)
    counts: dict[str, int] = dict(running)
    gates = Gates(lambda key: Gate(now, counts.get(key, 0), tats.get(key, 0.0)))
    taken: list[int] = []
    denied: list[int] = []
    for seq, *found in candidates:
        limit = limit_of(*found)
        (taken if limit is None or gates.admit(limit) else denied).append(seq)
    token = token_hex(8)
    take = Query(_take(columns), (int8s(taken), token, worker, now, lease))
    rows, *_ = yield [take, *_pass(queue, gates, denied, _PUT_BACK)]
    return rows, token, (yield from _next_due(queue, gates, denied, now))


def sift(queue: str, claims: Sequence[Claim]) -> Plan[tuple[list[Claim], float | None]]:
    """Those of one claim, taken in this transaction, that may start; the others are put aside.

    And in how many seconds more will be due.
    """
    limited = int8s([claim.handle for claim in claims if claim.limit is not None])
    locked, running, [(now,)] = yield [
        Query(_LOCK_OF, (limited,)),
        Query(_RUNNING, (queue, limited)),
        Query(_CLOCK),
    ]
    tats, counts = dict[str, float](locked), Counter[str](dict(running))
    counts.subtract(c.limit.key for c in claims if c.limit is not None)
    gates = Gates(lambda key: Gate(now, max(0, counts[key]), tats.get(key, 0.0)))
    kept = [c for c in claims if c.limit is None or gates.admit(c.limit)]
    admitted = {claim.handle for claim in kept}
    denied = [claim.handle for claim in claims if claim.handle not in admitted]
    yield list(_pass(queue, gates, denied, _TAKE_BACK))
    return kept, (yield from _next_due(queue, gates, denied, now))


def _next_due(queue: str, gates: Gates, denied: Sequence[int], now: float) -> Plan[float | None]:
    if not gates.passed:
        return None
    dates = yield from let_go([(queue, key) for key in gates.keys])
    if denied:
        return 0.0
    return max(0.0, min(dates) - now) if dates else None


def _take(columns: str) -> str:
    return f"""
    UPDATE vtasks_message AS m SET state = 2, attempt = m.attempt + 1, token = $2, worker = $3,
        started_at = $4::float8, lease_until = $4::float8 + $5::float8
    WHERE m.seq = ANY ($1) RETURNING {columns}
    """


def _pass(queue: str, gates: Gates, denied: Sequence[int], back: str) -> Iterable[Query]:
    if denied:
        yield Query(back, (int8s(denied),))
    for limit in gates.denied:
        values = (queue, limit.key, limit.concurrency, limit.interval)
        yield Query(_PUT_ASIDE, values)
        yield Query(_PUT_ASIDE_LINED, values)
        yield Query(_PUT_ASIDE_DUE, (*values, gates.passed[limit.key].due(limit)))
    if gates.passed:
        full = {limit.key for limit in gates.denied}
        tats = float8s(gate.tat for gate in gates.passed.values())
        flags = int8s([int(key in full) for key in gates.passed])
        yield Query(_KEEP, (queue, texts(gates.passed), tats, flags))


def let_go(keys: Sequence[Key]) -> Plan[list[float]]:
    """Give those that wait for these keys, in order, dates: as many as there should be.

    Answers with these dates.
    """
    given = texts(queue for queue, _ in keys), texts(key for _, key in keys)
    _, rows = yield [Query(_LOCK, given), Query(_LOOK % _GIVEN, given)]
    turns = [_turn(row) for row in rows]
    step = []
    if idle := [turn.of for turn in turns if turn.wanted is None]:
        ended = texts(queue for queue, _ in idle), texts(key for _, key in idle)
        step.append(Query(_NOBODY_WAITS, ended))
    if wanting := [turn for turn in turns if turn.wanted]:
        step.append(Query(_LET_GO, (*_columns(wanting), turns[0].now)))
    if not step:
        return []
    *_, last = yield step
    return [date for (date,) in last] if wanting else []


def neglected(first: Query, queue: str) -> Plan[tuple[list[Row], list[Key]]]:
    """What ``first`` answers, and keys whose messages wait for somebody who is no longer there.

    Reads only, so that this needs no transaction.
    """
    found, rows = yield [first, Query(_LOOK % _WAITED_FOR, (queue, ""))]
    if len(rows) > SWEEP_LIMIT:
        [rows] = yield [Query(_LOOK % _WAITED_FOR, (queue, token_hex(32)))]
    turns = [_turn(row) for row in rows]
    keys: list[Key] = [turn.of for turn in turns if turn.wanted is None]
    if wanting := [turn for turn in turns if turn.wanted]:
        [missing] = yield [Query(_COUNT, _columns(wanting))]
        keys += [(queue, key) for queue, key in missing]
    return found, sorted(keys)


def _turn(row: Row) -> _Turn:
    queue, key, now, tat, first, count, interval, running = row
    if first is None:
        return _Turn((queue, key), None, now, now)
    gate, limit = Gate(now, running, tat), Limit(key, count, interval)
    return _Turn((queue, key), gate.wanted(limit), gate.due(limit), now)


def _columns(turns: Sequence[_Turn]) -> tuple[object, ...]:
    return (
        texts(turn.of[0] for turn in turns),
        texts(turn.of[1] for turn in turns),
        float8s(turn.due for turn in turns),
        int8s([turn.wanted or 0 for turn in turns]),
    )


def sweep(limit: int) -> Query:
    """Forget up to ``limit`` keys whose pace is over."""
    return Query(_SWEEP, (limit,))


def among(settlements: Iterable[Settlement]) -> bool:
    """Is a limited one among them? Settling needs a transaction then."""
    return any(settlement.claim.limit is not None for settlement in settlements)
