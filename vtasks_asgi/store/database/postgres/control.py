"""What operators do to messages, queues and tasks in PostgreSQL, as plans."""

from collections import Counter
from collections.abc import Sequence

from vtasks_asgi.core.outcome import CANCELLED
from vtasks_asgi.store.base import Claim
from vtasks_asgi.store.control import Cancel, Cancellation, Paused
from vtasks_asgi.store.database import pauses
from vtasks_asgi.store.database.postgres import dead, fence
from vtasks_asgi.store.database.postgres.arrays import texts
from vtasks_asgi.store.database.postgres.fence import FENCED
from vtasks_asgi.store.database.postgres.inspect import possible
from vtasks_asgi.store.database.postgres.keys import NOW
from vtasks_asgi.store.database.postgres.plan import Plan, Query
from vtasks_asgi.store.database.postgres.push import ring
from vtasks_asgi.store.database.records import RUNNING

# What is being claimed or settled at this moment is waited for, and seen as it is then.
_LOCK = """
SELECT uid, queue, state FROM vtasks_message WHERE uid = ANY ($1) ORDER BY seq FOR UPDATE
"""

_FINISHED = f"""
WITH {NOW}
SELECT uid FROM vtasks_deadletter WHERE uid = ANY ($1)
UNION ALL
SELECT uid FROM vtasks_result WHERE uid = ANY ($1) AND expires_at > (SELECT now FROM t)
"""

_MARK = f"""
WITH {NOW}
UPDATE vtasks_message AS m SET cancelled_at = t.now FROM t
WHERE m.uid = ANY ($1) AND m.cancelled_at IS NULL
"""

_BURY = dead.burial(
    CANCELLED, "USING unnest($1::text[]) WITH ORDINALITY AS s(uid, n) WHERE m.uid = s.uid"
)

_MARKED = f"""
SELECT m.seq, m.token FROM vtasks_message AS m WHERE {FENCED} AND m.cancelled_at IS NOT NULL
"""

_PAUSE = """
INSERT INTO vtasks_pause (kind, name, until) VALUES ($1, $2, $3)
ON CONFLICT (kind, name) DO UPDATE SET until = excluded.until
"""

_IN_FORCE = "(p.until IS NULL OR p.until > t.now)"

_RESUME = f"""
WITH {NOW}
DELETE FROM vtasks_pause AS p USING t WHERE p.kind = $1 AND p.name = $2 RETURNING {_IN_FORCE}
"""

_PAUSED = f"WITH {NOW} SELECT p.kind, p.name, p.until FROM vtasks_pause AS p, t WHERE {_IN_FORCE}"


def cancel(ids: Sequence[str], cap: int) -> Plan[Cancellation]:
    """Bury what waits, mark what runs; of several steps."""
    cancellation = Cancellation(dict.fromkeys(ids, Cancel.UNKNOWN))
    asked = possible(list(cancellation.outcomes))
    [rows] = yield [Query(_LOCK, (texts(asked),))]
    live = {uid: (queue, state) for uid, queue, state in rows}
    running = [uid for uid in asked if uid in live and live[uid][1] == RUNNING]
    waiting = [uid for uid in asked if uid in live and live[uid][1] != RUNNING]
    queues = Counter(live[uid][0] for uid in waiting)
    _, finished, _, evicted = yield [
        Query(_MARK, (texts(running),)),
        Query(_FINISHED, (texts(uid for uid in asked if uid not in live),)),
        Query(_BURY, (texts(waiting),)),
        dead.evict(queues, cap),
    ]
    cancellation.outcomes |= dict.fromkeys(running, Cancel.ASKED)
    cancellation.outcomes |= dict.fromkeys(waiting, Cancel.CANCELLED)
    cancellation.outcomes |= {uid: Cancel.FINISHED for (uid,) in finished}
    cancellation.buried = dict(queues)
    cancellation.evicted = dict(Counter(queue for (queue,) in evicted))
    return cancellation


def cancelled(claims: Sequence[Claim]) -> Plan[list[Claim]]:
    """Those that still hold and are marked."""
    if not claims:
        return []
    answers = yield fence.queries(_MARKED, claims)
    marked = {row for rows in answers for row in rows}
    return [claim for claim in claims if (claim.handle, claim.token) in marked]


def pause(kind: int, name: str, until: float | None) -> Plan[None]:
    """Note a pause, or when it ends from now on."""
    yield [Query(_PAUSE, (kind, name, until))]


def resume(kind: int, name: str, words: Sequence[str] = ()) -> Plan[bool]:
    """Forget a pause; was it in force?"""
    [rows, *_] = yield [Query(_RESUME, (kind, name)), *ring(words)]
    return bool(rows and rows[0][0])


def paused() -> Plan[Paused]:
    """All that is paused."""
    [rows] = yield [Query(_PAUSED, tuned=False)]
    return pauses.paused((kind, name, until) for kind, name, until in rows)
