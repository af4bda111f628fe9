"""Unique keys in MySQL: a row says who took a key last; whether it still holds is looked up.

So a lock cannot leak: it ends with its message, however that ends. Deleting rows only saves space.
A key that is plainly held is answered without a lock; whoever takes one locks its row until the
transaction ends. Workers that end messages never wait for such a lock, for it may be a request's.
"""

from collections.abc import Iterable, Sequence

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.database.mysql.step import Step, lists

#: A queue, a key in it, and the message that took it.
type Taken = tuple[str, str, str]

_HELD = """
SELECT k.uid FROM vtasks_uniquekey AS k WHERE k.queue = %s AND k.`key` = %s AND k.uid <> %s
  AND (k.until > %s OR EXISTS (SELECT 1 FROM vtasks_message AS m WHERE m.uid = k.uid))
"""

# Makes the row or leaves it as it is; locks it either way. IGNORE would hide other errors too.
_LOCK = """
INSERT INTO vtasks_uniquekey (queue, `key`, uid, until) VALUES (%s, %s, %s, %s)
ON DUPLICATE KEY UPDATE uid = uid
"""

_OWNER = "SELECT uid, until FROM vtasks_uniquekey WHERE queue = %s AND `key` = %s FOR UPDATE"

# A locking read sees what is committed now, also in a caller's REPEATABLE READ.
_LIVES = "SELECT 1 FROM vtasks_message WHERE uid = %s LOCK IN SHARE MODE"

_TAKE = "UPDATE vtasks_uniquekey SET uid = %s, until = %s WHERE queue = %s AND `key` = %s"

_FREE = """
SELECT k.queue, k.`key`, k.uid FROM vtasks_uniquekey AS k WHERE k.until <= %s
  AND NOT EXISTS (SELECT 1 FROM vtasks_message AS m WHERE m.uid = k.uid) LIMIT %s
"""


def take(step: Step, message: Message) -> str | None:
    """Take the message's key for it; who holds it, if another message does."""
    key = (message.queue, message.unique)
    if held := step.rows(_HELD, *key, message.id, step.now):
        return str(held[0][0])
    mine = (message.id, step.now + (message.keep_unique or 0.0))
    step.run(_LOCK, *key, *mine)
    [(owner, until)] = step.rows(_OWNER, *key)
    if owner != message.id and (until > step.now or step.rows(_LIVES, owner)):
        return str(owner)
    if (owner, until) != mine:
        step.run(_TAKE, *mine, *key)
    return None


def forget(step: Step, taken: Sequence[Taken]) -> None:
    """Delete these rows unless they are kept, were taken by others since, or somebody has them.

    Of messages that have ended, as this transaction sees it.
    """
    for some in lists(taken):
        same = "(queue = %s AND `key` = %s AND uid = %s)"
        where = f"({' OR '.join([same] * len(some))})"
        rows = step.rows(
            "SELECT queue, `key`, uid FROM vtasks_uniquekey FORCE INDEX (PRIMARY)"
            f" WHERE {where} AND until <= %s FOR UPDATE SKIP LOCKED",
            *_flat(some),
            step.now,
        )
        lived = _living(step, rows)
        ended = [row for row in rows if row[2] not in lived]
        if ended:
            where = " OR ".join([same] * len(ended))
            step.run(f"DELETE FROM vtasks_uniquekey WHERE {where}", *_flat(ended))


def sweep(step: Step, limit: int) -> None:
    """Forget up to ``limit`` keys that nobody holds any more."""
    forget(step, [(queue, key, uid) for queue, key, uid in step.rows(_FREE, step.now, limit)])


def _living(step: Step, rows: Sequence[Taken]) -> set[str]:
    """Which of these messages live. Asked with the rows locked, no answer can change any more."""
    if not rows:
        return set()
    query = "SELECT uid FROM vtasks_message WHERE uid IN %s"
    return {uid for (uid,) in step.rows(query, [uid for _, _, uid in rows])}


def _flat(rows: Iterable[Taken]) -> Iterable[str]:
    return (value for row in rows for value in row)
