"""Taking messages in hand and holding them, as plans."""

from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_hex

from vtasks_asgi.core.limits import HELD
from vtasks_asgi.store.base import Claim, Claimed
from vtasks_asgi.store.database.limited import limit_of
from vtasks_asgi.store.database.postgres import fence, limits
from vtasks_asgi.store.database.postgres.fence import FENCED
from vtasks_asgi.store.database.postgres.front import Place, in_order
from vtasks_asgi.store.database.postgres.keys import NOW, Key
from vtasks_asgi.store.database.postgres.plan import Plan, Query, Row
from vtasks_asgi.store.database.records import PROMOTE_LIMIT

_COLUMNS = (
    "m.seq, m.uid, m.body, m.priority, m.attempt, m.crashes, m.history, m.run_at, m.unique_key,"
    " m.note"
)
#: What a claim needs to know of a message.
COLUMNS = f"{_COLUMNS}, {limits.COLUMNS}"

_PAUSE = """
pause AS MATERIALIZED (
    SELECT until FROM vtasks_pause
    WHERE kind = 0 AND name = $1 AND (until IS NULL OR until > (SELECT now FROM t)))
"""

#: Promotes what is due, takes the best, and says when more is due: one statement, so one snapshot.
#: A pause is looked up once, and keeps the message table from being read for what is ready. So
#: does a message in a line, which is left to ``lines.claim``: it tells that there is one.
#: What is locked is skipped, and what another worker has changed meanwhile is looked at again
#: (EvalPlanQual), so nothing is handed out twice. The arrays make sure how the rows are found
#: whatever the planner thinks their number is: where they lie, for they cannot move while locked;
#: one that has just moved is left for the next claim. What has a limit is only named, and left to
#: ``admit``.
CLAIM = f"""
WITH {NOW},
{_PAUSE},
due AS MATERIALIZED (
    SELECT ctid AS place, seq, priority, limit_key, line FROM vtasks_message
    WHERE queue = $1 AND state = 1 AND run_at <= (SELECT now FROM t)
    ORDER BY run_at LIMIT {PROMOTE_LIMIT} FOR UPDATE SKIP LOCKED),
lined AS MATERIALIZED (
    SELECT WHERE EXISTS (SELECT 1 FROM vtasks_message WHERE queue = $1 AND state = 3)
        OR EXISTS (SELECT 1 FROM due WHERE line IS NOT NULL)),
ready AS MATERIALIZED (
    SELECT ctid AS place, seq, priority, limit_key FROM vtasks_message
    WHERE queue = $1 AND state = 0
      AND NOT EXISTS (SELECT 1 FROM pause) AND NOT EXISTS (SELECT 1 FROM lined)
    ORDER BY priority DESC, seq LIMIT $2 FOR UPDATE SKIP LOCKED),
best AS MATERIALIZED (
    SELECT place, seq, limit_key FROM (
        SELECT place, seq, priority, limit_key FROM due UNION ALL SELECT * FROM ready) AS either
    WHERE NOT EXISTS (SELECT 1 FROM pause) AND NOT EXISTS (SELECT 1 FROM lined)
    ORDER BY priority DESC, seq LIMIT $2),
promoted AS (
    UPDATE vtasks_message SET state = CASE WHEN line IS NULL THEN 0 ELSE 3 END
    WHERE seq = ANY (ARRAY(
        SELECT seq FROM due EXCEPT SELECT seq FROM best WHERE limit_key IS NULL))
    RETURNING 1),
taken AS (
    UPDATE vtasks_message AS m SET state = 2, attempt = m.attempt + 1, token = $3, worker = $4,
        started_at = t.now, lease_until = t.now + $5::float8
    FROM t WHERE m.ctid = ANY (ARRAY(SELECT place FROM best WHERE limit_key IS NULL))
    RETURNING {_COLUMNS}),
later AS (
    SELECT CASE WHEN (SELECT count(*) FROM due) = {PROMOTE_LIMIT} THEN 0 ELSE least((
        SELECT run_at FROM vtasks_message
        WHERE queue = $1 AND state = 1 AND run_at > (SELECT now FROM t) AND run_at < {HELD!r}
        ORDER BY run_at LIMIT 1), (SELECT until FROM pause)) - (SELECT now FROM t) END AS next_due,
    (SELECT array_agg(seq) FROM best WHERE limit_key IS NOT NULL) AS limited,
    EXISTS (SELECT 1 FROM lined) AND NOT EXISTS (SELECT 1 FROM pause) AS lined,
    EXISTS (SELECT 1 FROM promoted) AS promoted)
SELECT later.*, taken.* FROM later LEFT JOIN taken ON true
"""

# An array of one queue, for else the primary key would have the same order once the priority is
# known, and the planner would have all queues and states walked with it.
_READY = """
    SELECT ctid AS place, seq, limit_key FROM vtasks_message
    WHERE queue = ANY (ARRAY[$1]) AND state = 0 AND {} AND EXISTS (SELECT 1 FROM plain)
    ORDER BY queue, priority DESC, seq LIMIT $2 FOR UPDATE SKIP LOCKED"""

#: Takes what has a higher priority than the place ``$6``, ``$7``, and what comes after it within
#: that priority. Nothing at all unless that is all there is to it: nothing due, no line, no pause.
#: What comes second is read only if there is not enough of the first.
ONWARDS = f"""
WITH {NOW},
{_PAUSE},
plain AS MATERIALIZED (
    SELECT run_at FROM t LEFT JOIN (
        SELECT run_at FROM vtasks_message
        WHERE queue = $1 AND state = 1 ORDER BY run_at LIMIT 1) AS first ON true
    WHERE coalesce(run_at > t.now, true) AND NOT EXISTS (SELECT 1 FROM pause)
      AND NOT EXISTS (SELECT 1 FROM vtasks_message WHERE queue = $1 AND state = 3)),
above AS MATERIALIZED ({_READY.format("priority > $6")}),
beside AS MATERIALIZED ({_READY.format("priority = $6 AND seq > $7")}),
ready AS MATERIALIZED (SELECT * FROM above UNION ALL SELECT * FROM beside LIMIT $2)
UPDATE vtasks_message AS m SET state = 2, attempt = m.attempt + 1, token = $3, worker = $4,
    started_at = t.now, lease_until = t.now + $5::float8
FROM t, plain WHERE m.ctid = ANY (ARRAY(SELECT place FROM ready WHERE limit_key IS NULL))
RETURNING CASE WHEN plain.run_at < {HELD!r} THEN plain.run_at - t.now END, {_COLUMNS}
"""

_BY_AGE = "FROM vtasks_message WHERE queue = $1 AND seq >= $2 AND state IN (0, 3)"

_FIRST = f"SELECT seq {_BY_AGE} ORDER BY seq LIMIT 1"

_LATER = f"""
WITH {NOW},
{_PAUSE},
ready AS MATERIALIZED (
    SELECT seq {_BY_AGE} AND limit_key IS NULL AND NOT EXISTS (SELECT 1 FROM pause)
    ORDER BY seq LIMIT $3 FOR UPDATE SKIP LOCKED)
UPDATE vtasks_message AS m SET state = 2, attempt = m.attempt + 1, token = $4, worker = $5,
    started_at = t.now, lease_until = t.now + $6::float8
FROM t WHERE m.seq = ANY (ARRAY(SELECT seq FROM ready))
RETURNING {_COLUMNS}
"""

_RECLAIM = f"""
WITH {NOW},
lost AS MATERIALIZED (
    SELECT seq, worker, started_at, lease_until FROM vtasks_message
    WHERE queue = $1 AND state = 2 AND lease_until <= (SELECT now FROM t)
    ORDER BY lease_until, seq LIMIT $2 FOR UPDATE SKIP LOCKED)
UPDATE vtasks_message AS m SET crashes = m.crashes + 1, token = $3, worker = $4,
    started_at = t.now, lease_until = t.now + $5::float8
FROM lost, t WHERE m.seq = lost.seq
RETURNING lost.lease_until, lost.worker, lost.started_at, m.cancelled_at IS NOT NULL, {COLUMNS}
"""

# A row that is being settled at this moment is neither extended nor lost, and never waited for.
_EXTEND = f"""
WITH {NOW},
held AS MATERIALIZED (SELECT m.seq, m.token FROM vtasks_message AS m WHERE {FENCED}),
free AS MATERIALIZED (
    SELECT m.seq FROM vtasks_message AS m WHERE {FENCED} FOR UPDATE SKIP LOCKED),
extended AS (
    UPDATE vtasks_message AS m SET lease_until = t.now + $3::float8
    FROM t WHERE m.seq = ANY (ARRAY(SELECT seq FROM free)))
SELECT seq, token FROM held
"""


@dataclass(slots=True)
class Left:
    """What the first step of a claim leaves to a second one, which needs a transaction."""

    #: The messages left to ``admit``.
    limited: Sequence[int]
    #: Something stands in a line: nothing was taken, and all is left to ``lines.claim``.
    lined: bool
    #: Something that was due and not taken has become ready, in its old place.
    promoted: bool

    def __bool__(self) -> bool:
        return bool(self.limited or self.lined or self.promoted)


def claim(queue: str, limit: int, *, worker: str, lease: float) -> Plan[tuple[Claimed, Left]]:
    """Promote what is due, then take the best ``limit`` messages; and what is left to others."""
    token = token_hex(8)
    query = Query(CLAIM, (queue, max(limit, 0), token, worker, lease))
    [rows] = yield [query]
    next_due, limited, lined, promoted = rows[0][:4]
    left = Left(limited or (), lined, promoted)
    if rows[0][4] is None:
        return Claimed([], next_due), left
    return _claimed(queue, token, [row[4:] for row in rows], next_due), left


def claim_onwards(
    queue: str, limit: int, place: Place, *, worker: str, lease: float
) -> Plan[Claimed]:
    """Take the best ``limit`` messages beyond this place, if nothing is to be done besides."""
    token = token_hex(8)
    [rows] = yield [Query(ONWARDS, (queue, limit, token, worker, lease, *place))]
    next_due = rows[0][0] if rows else None
    return _claimed(queue, token, [row[1:] for row in rows], next_due)


def _claimed(queue: str, token: str, taken: list[Row], next_due: float | None) -> Claimed:
    taken.sort(key=_by_priority)  # RETURNING promises no order
    return Claimed([_plain(queue, token, row) for row in taken], next_due)


def admit(
    queue: str, limited: Sequence[int], claimed: Claimed, *, worker: str, lease: float
) -> Plan[Claimed]:
    """Take those of these messages as well that their limits allow; of several steps."""
    rows, token, next_due = yield from limits.admit(
        queue, limited, COLUMNS, worker=worker, lease=lease
    )
    claims = [*claimed.claims, *(claim_of(queue, token, row) for row in rows)]
    claims.sort(key=in_order)
    return Claimed(claims, sooner(next_due, claimed.next_due))


def sooner(*dates: float | None) -> float | None:
    """The first of those that are known."""
    return min((due for due in dates if due is not None), default=None)


def first(queue: str, since: int) -> Plan[int]:
    """The oldest ready message, if there is one from ``since`` on; else that."""
    [rows] = yield [Query(_FIRST, (queue, since))]
    return rows[0][0] if rows else since


def claim_later(
    queue: str, limit: int, *, since: int, worker: str, lease: float
) -> Plan[list[Claim]]:
    """Take up to ``limit`` ready messages from this one on, oldest first."""
    token = token_hex(8)
    [rows] = yield [Query(_LATER, (queue, since, max(limit, 0), token, worker, lease))]
    return [_plain(queue, token, row) for row in sorted(rows, key=lambda row: row[0])]


def _by_priority(row: Row) -> tuple[int, int]:
    return -row[3], row[0]


def claim_of(queue: str, token: str, row: Row) -> Claim:
    """From a row of ``COLUMNS``."""
    claim = _plain(queue, token, row[:10])
    claim.limit = limit_of(*row[10:])
    return claim


def _plain(queue: str, token: str, row: Row) -> Claim:
    """From a row without the limit's columns."""
    seq, uid, body, priority, attempt, crashes, history, run_at, key, note = row
    return Claim(
        *(uid, queue, body, priority, token, attempt, crashes, history, run_at),
        *(None, None, seq, key, note),
    )


def reclaim(
    queue: str, limit: int, *, worker: str, lease: float
) -> Plan[tuple[list[Claim], list[Key]]]:
    """Take over expired leases; each claim names who lost it, and since when it was held.

    And the limits' keys that somebody has to let go.
    """
    token = token_hex(8)
    query = Query(_RECLAIM, (queue, max(limit, 0), token, worker, lease))
    rows, keys = yield from limits.neglected(query, queue)
    rows.sort(key=lambda row: (row[0], row[4]))
    claims = []
    for _, lost_worker, lost_at, cancelled, *columns in rows:
        claim = claim_of(queue, token, tuple(columns))
        claim.lost_worker, claim.lost_at, claim.cancelled = lost_worker, lost_at, cancelled
        claims.append(claim)
    return claims, keys


def extend(claims: Sequence[Claim], *, lease: float) -> Plan[list[Claim]]:
    """Push the leases' ends forward; returns the claims whose token no longer holds."""
    if not claims:
        return []
    answers = yield fence.queries(_EXTEND, claims, lease)
    held = {row for rows in answers for row in rows}
    return [claim for claim in claims if (claim.handle, claim.token) not in held]
