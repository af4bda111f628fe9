"""What operators do to messages, queues and tasks in MySQL, as functions of a step."""

from collections import Counter
from collections.abc import Sequence
from math import inf

from vtasks_asgi.core.outcome import CANCELLED
from vtasks_asgi.store.base import Claim
from vtasks_asgi.store.control import Cancel, Cancellation, Paused
from vtasks_asgi.store.database import pauses
from vtasks_asgi.store.database.mysql import dead
from vtasks_asgi.store.database.mysql.step import Step, lists
from vtasks_asgi.store.database.pauses import QUEUE
from vtasks_asgi.store.database.records import RUNNING

_LOCK = "SELECT uid, seq, queue, state FROM vtasks_message WHERE seq IN %s ORDER BY seq FOR UPDATE"

_FINISHED = """
SELECT uid FROM vtasks_deadletter WHERE uid IN %s
UNION ALL SELECT uid FROM vtasks_result WHERE uid IN %s AND expires_at > %s
"""

_MARK = "UPDATE vtasks_message SET cancelled_at = %s WHERE seq IN %s AND cancelled_at IS NULL"

_MARKED = "SELECT seq, token FROM vtasks_message WHERE seq IN %s AND cancelled_at IS NOT NULL"

_PAUSE = """
INSERT INTO vtasks_pause (kind, name, until) VALUES (%s, %s, %s)
ON DUPLICATE KEY UPDATE until = %s
"""

_ONE = "FROM vtasks_pause WHERE kind = %s AND name = %s"
_IN_FORCE = "(until IS NULL OR until > %s)"
_PAUSED = f"SELECT kind, name, until FROM vtasks_pause WHERE {_IN_FORCE}"

#: The end of a pause without one, for the server knows no infinity.
_FOREVER = 1e308

#: A subquery for claims: when the queue's pause ends, NULL if there is none. Wants the values of
#: ``pause_of``.
PAUSED_UNTIL = f"(SELECT COALESCE(until, {_FOREVER}) {_ONE} AND {_IN_FORCE})"


def pause_of(step: Step, queue: str) -> tuple[int, str, float]:
    """The values that ``PAUSED_UNTIL`` wants."""
    return QUEUE, queue, step.now


def paused_until(found: float | None) -> float | None:
    """What ``PAUSED_UNTIL`` found, infinity for a pause that does not end by itself."""
    return inf if found == _FOREVER else found


def cancel(step: Step, ids: Sequence[str], cap: int) -> Cancellation:
    """Bury what waits, mark what runs."""
    cancellation = Cancellation(dict.fromkeys(ids, Cancel.UNKNOWN))
    buried: Counter[str] = Counter()
    for some in lists([uid for uid in cancellation.outcomes if uid.isascii()]):
        # Looked for without locks first, so that all locks are taken in the order of seq.
        found = step.rows("SELECT seq FROM vtasks_message WHERE uid IN %s", some)
        live = step.rows(_LOCK, sorted(seq for (seq,) in found)) if found else ()
        outcomes = cancellation.outcomes
        running = {uid: seq for uid, seq, _, state in live if state == RUNNING}
        waiting = {uid: seq for uid, seq, _, state in live if state != RUNNING}
        if running:
            step.run(_MARK, step.now, list(running.values()))
        dead.bury(step, [waiting[uid] for uid in some if uid in waiting], CANCELLED)
        buried.update(queue for uid, _, queue, _ in live if uid in waiting)
        finished = step.rows(_FINISHED, some, some, step.now)
        outcomes |= {uid: Cancel.FINISHED for (uid,) in finished}
        outcomes |= dict.fromkeys(running, Cancel.ASKED) | dict.fromkeys(waiting, Cancel.CANCELLED)
    for queue in buried:
        if evicted := dead.evict(step, queue, cap):
            cancellation.evicted[queue] = evicted
    cancellation.buried = dict(buried)
    return cancellation


def cancelled(step: Step, claims: Sequence[Claim]) -> list[Claim]:
    """Those that still hold and are marked. Locks nothing."""
    marked: set[tuple[int, str]] = set()
    for seqs in lists([claim.handle for claim in claims]):
        marked.update((seq, token) for seq, token in step.rows(_MARKED, seqs))
    return [claim for claim in claims if (claim.handle, claim.token) in marked]


def pause(step: Step, kind: int, name: str, until: float | None) -> None:
    """Note a pause, or when it ends from now on."""
    step.run(_PAUSE, kind, name, until, until)


def resume(step: Step, kind: int, name: str) -> bool:
    """Forget a pause; was it in force?"""
    rows = step.rows(f"SELECT {_IN_FORCE} {_ONE} FOR UPDATE", step.now, kind, name)
    step.run(f"DELETE {_ONE}", kind, name)
    return bool(rows and rows[0][0])


def paused(step: Step) -> Paused:
    """All that is paused."""
    return pauses.paused((kind, name, until) for kind, name, until in step.rows(_PAUSED, step.now))
