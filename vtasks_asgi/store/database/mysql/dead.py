"""Dead letters of what nobody holds, the cap of all, and deleting, as functions of a step."""

from collections.abc import Sequence

from vtasks_asgi.store.database.mysql import unique
from vtasks_asgi.store.database.mysql.step import Step, lists

_BURY = """
INSERT INTO vtasks_deadletter
    (uid, queue, priority, attempt, crashes, body, history, reason, finished_at, unique_key, note,
    limit_key, limit_count, limit_interval, line)
SELECT uid, queue, priority, attempt, crashes, body, history, %s, %s, unique_key, note,
    limit_key, limit_count, limit_interval, line
FROM vtasks_message WHERE seq IN %s
"""

_KEYS = """
SELECT queue, unique_key, uid FROM vtasks_message WHERE seq IN %s AND unique_key IS NOT NULL
"""

_OVER_CAP = """
SELECT seq FROM vtasks_deadletter WHERE queue = %s
ORDER BY seq DESC LIMIT 18446744073709551615 OFFSET %s
"""


def bury(step: Step, seqs: Sequence[int], reason: str) -> None:
    """Give up on messages as they are, in this order, and forget their unique keys."""
    for some in lists(seqs):
        in_order = f" ORDER BY FIELD(seq, {', '.join(['%s'] * len(some))})"
        step.run(_BURY + in_order, reason, step.now, some, *some)
        keys = step.rows(_KEYS, some)
        step.run("DELETE FROM vtasks_message WHERE seq IN %s", some)
        unique.forget(step, [(queue, key, uid) for queue, key, uid in keys])


def evict(step: Step, queue: str, cap: int) -> int:
    """Drop the dead letters over the cap, those buried first; how many there were."""
    return erase(step, "vtasks_deadletter", [seq for (seq,) in step.rows(_OVER_CAP, queue, cap)])


def erase(step: Step, table: str, seqs: Sequence[int], where: str = "TRUE", *values: object) -> int:
    """Delete those of these rows that are as they should be, and that nobody else has locked."""
    deleted = 0
    for some in lists(sorted(seqs)):
        query = f"SELECT seq FROM {table} WHERE seq IN %s AND {where} FOR UPDATE SKIP LOCKED"
        if mine := [seq for (seq,) in step.rows(query, some, *values)]:
            deleted += step.run(f"DELETE FROM {table} WHERE seq IN %s", mine)
    return deleted
