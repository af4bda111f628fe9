"""Dead letters of what nobody holds, and the cap of all, as functions of a step."""

from collections.abc import Sequence

from vtasks_asgi.store.database.mysql import unique
from vtasks_asgi.store.database.mysql.step import Step, lists

_BURY = """
INSERT INTO vtasks_deadletter
    (uid, queue, priority, attempt, crashes, body, history, reason, finished_at, unique_key)
SELECT uid, queue, priority, attempt, crashes, body, history, %s, %s, unique_key
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
    evicted = 0
    for seqs in lists([seq for (seq,) in step.rows(_OVER_CAP, queue, cap)]):
        evicted += step.run("DELETE FROM vtasks_deadletter WHERE seq IN %s", seqs)
    return evicted
