"""Dead letters as statements: of messages nobody holds, and the cap of all."""

from collections.abc import Collection

from vtasks_asgi.store.database.postgres.arrays import texts
from vtasks_asgi.store.database.postgres.keys import FREED, NOW
from vtasks_asgi.store.database.postgres.limits import COLUMNS
from vtasks_asgi.store.database.postgres.plan import Query

_EVICT = """
DELETE FROM vtasks_deadletter WHERE seq = ANY (ARRAY(
    SELECT old.seq FROM unnest($1::text[]) AS q(queue) CROSS JOIN LATERAL (
        SELECT d.seq FROM vtasks_deadletter AS d WHERE d.queue = q.queue
        ORDER BY d.seq DESC OFFSET $2) AS old))
RETURNING queue
"""


def burial(reason: str, which: str, *, number: str = "s.n") -> str:
    """The text of a statement that gives up on messages as they are, and forgets their keys.

    ``which`` names them, by a condition on ``m``, and ``number`` numbers them. It answers with the
    numbers of those it has buried, in whose order they lie.
    """
    return f"""
    WITH {NOW},
    gone AS (
        DELETE FROM vtasks_message AS m {which}
        RETURNING {number} AS n, m.uid, m.queue, m.priority, m.attempt, m.crashes, m.body,
            m.history, m.unique_key, m.note, {COLUMNS}, m.line),
    buried AS (
        INSERT INTO vtasks_deadletter (uid, queue, priority, attempt, crashes, body, history,
            reason, finished_at, unique_key, note, limit_key, limit_count, limit_interval, line)
        SELECT uid, queue, priority, attempt, crashes, body, history, '{reason}', t.now,
            unique_key, note, limit_key, limit_count, limit_interval, line
        FROM gone, t ORDER BY n
        ON CONFLICT (uid) DO UPDATE SET history = excluded.history, reason = excluded.reason,
            finished_at = excluded.finished_at, note = excluded.note),
    {FREED}
    SELECT n FROM gone
    """


def evict(queues: Collection[str], cap: int) -> Query:
    """Drop what is over the cap in these queues; answers with the queue of each one dropped."""
    return Query(_EVICT, (texts(queues), cap))
