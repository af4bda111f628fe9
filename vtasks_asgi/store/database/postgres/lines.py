"""Claims of a queue in which lines take turns, as a plan.

One statement takes of one priority: the same number of all lines, and one more of the next in turn.
It hops from line to line in their index (a loose index scan), so what it costs goes by how many it
takes, not by how long a line is or how many there are.
"""

from secrets import token_hex

from vtasks_asgi.core.line import KEYLESS
from vtasks_asgi.store.base import Claim, Claimed
from vtasks_asgi.store.database.postgres import limits
from vtasks_asgi.store.database.postgres.arrays import int8s
from vtasks_asgi.store.database.postgres.claim import COLUMNS, claim_of, sooner
from vtasks_asgi.store.database.postgres.keys import NOW
from vtasks_asgi.store.database.postgres.plan import Plan, Query, Row
from vtasks_asgi.store.database.turns import Turns, in_turn

#: Above every priority.
_TOP = 32767

_READY = "vtasks_message AS m WHERE m.queue = $1 AND m.state = 0"
_LINED = "vtasks_message AS m WHERE m.queue = $1 AND m.state = 3"
_BAND = "m.priority = (SELECT priority FROM band)"


def _hop(after: str) -> str:
    """The next line of the band."""
    return (
        f"(SELECT m.line FROM {_LINED} AND {_BAND} AND m.line > {after}"
        " ORDER BY m.priority DESC, m.line, m.seq LIMIT 1)"
    )


# Round the circle: the lines after the last, those without a line, the lines up to the last.
TAKE = f"""
WITH RECURSIVE {NOW},
band AS MATERIALIZED (
    SELECT greatest(
        (SELECT m.priority FROM {_READY} AND m.priority <= $6
         ORDER BY m.priority DESC, m.seq LIMIT 1),
        (SELECT m.priority FROM {_LINED} AND m.priority <= $6
         ORDER BY m.priority DESC, m.line, m.seq LIMIT 1)) AS priority),
last AS MATERIALIZED (
    SELECT coalesce((SELECT h.line FROM unnest($7::int8[], $8::int8[]) AS h(priority, line), band
        WHERE h.priority = band.priority), {KEYLESS}) AS line),
above AS (
    SELECT {_hop("(SELECT line FROM last)")} AS line, 1 AS n
    UNION ALL
    SELECT {_hop("above.line")}, n + 1 FROM above WHERE line IS NOT NULL AND n < $2),
below AS (
    SELECT {_hop(str(KEYLESS))} AS line, 1 AS n
    UNION ALL
    SELECT {_hop("below.line")}, n + 1 FROM below, last
    WHERE below.line <= last.line AND n < $2 - (SELECT count(line) FROM above)),
lines AS MATERIALIZED (
    SELECT line, row_number() OVER (ORDER BY part, n) AS n FROM (
        SELECT line, 0 AS part, n FROM above WHERE line IS NOT NULL
        UNION ALL
        SELECT {KEYLESS}, 1, 0 WHERE EXISTS (SELECT 1 FROM {_READY} AND {_BAND})
        UNION ALL
        SELECT below.line, 2, n FROM below, last WHERE below.line <= last.line) AS circle
    ORDER BY part, circle.n LIMIT $2),
shares AS MATERIALIZED (
    SELECT line, $2 / count(*) OVER () + (n <= $2 % count(*) OVER ())::int AS share FROM lines),
lined AS MATERIALIZED (
    SELECT one.seq FROM shares CROSS JOIN LATERAL (
        SELECT m.seq FROM {_LINED} AND {_BAND} AND m.line = shares.line
        ORDER BY m.priority DESC, m.line, m.seq LIMIT shares.share
        FOR UPDATE SKIP LOCKED) AS one),
ready AS MATERIALIZED (
    SELECT m.seq FROM {_READY} AND {_BAND} ORDER BY m.priority DESC, m.seq
    LIMIT coalesce((SELECT share FROM shares WHERE line = {KEYLESS}), 0) FOR UPDATE SKIP LOCKED),
taken AS (
    UPDATE vtasks_message AS m SET state = 2, attempt = m.attempt + 1, token = $3, worker = $4,
        started_at = t.now, lease_until = t.now + $5::float8
    FROM t WHERE m.seq = ANY (ARRAY(SELECT seq FROM lined UNION ALL SELECT seq FROM ready))
    RETURNING m.line, {COLUMNS})
SELECT band.priority, taken.* FROM band LEFT JOIN taken ON true
"""


def claim(
    queue: str, limit: int, first: Claimed, *, worker: str, lease: float, turns: Turns
) -> Plan[Claimed]:
    """Take the best ``limit`` messages that their limits allow; ``first`` knows when more is due.

    It needs a transaction.
    """
    claims = yield from _take(queue, limit, worker=worker, lease=lease, turns=turns)
    if all(claim.limit is None for claim in claims):
        return Claimed(claims, first.next_due)
    kept, next_due = yield from limits.sift(queue, claims)
    return Claimed(kept, sooner(next_due, first.next_due))


def _take(queue: str, limit: int, *, worker: str, lease: float, turns: Turns) -> Plan[list[Claim]]:
    """By priority, then by turns, whatever their limits. Nothing else is looked at."""
    token, claims = token_hex(8), list[Claim]()
    ceiling = _TOP
    while (wanted := limit - len(claims)) > 0:
        last = turns.of(queue)
        held = (token, worker, lease)
        known = (int8s(list(last)), int8s(list(last.values())))
        [rows] = yield [Query(TAKE, (queue, wanted, *held, ceiling, *known))]
        priority = rows[0][0]
        if priority is None:
            break
        if rows[0][2] is None:  # others have it in hand, all of it
            ceiling = priority - 1
            continue
        rows.sort(key=_age)
        rows = in_turn(rows, _line, turns.last(queue, priority))
        turns.had(queue, priority, _line(rows[-1]))
        claims += [claim_of(queue, token, row[2:]) for row in rows]
    return claims


def _age(row: Row) -> int:
    seq: int = row[2]
    return seq


def _line(row: Row) -> int:
    return KEYLESS if row[1] is None else int(row[1])
