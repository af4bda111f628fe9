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
  AND (k.until > %s OR EXISTS (SELECT 1 FROM vtasks_message AS m
    WHERE m.uid = k.uid AND m.unique_key = k.`key`))
"""

# Makes the row or leaves it as it is; locks it either way. IGNORE would hide other errors too.
_LOCK = """
INSERT INTO vtasks_uniquekey (queue, `key`, uid, until) VALUES (%s, %s, %s, %s)
ON DUPLICATE KEY UPDATE uid = uid
"""

_OWNER = "SELECT uid, until FROM vtasks_uniquekey WHERE queue = %s AND `key` = %s FOR UPDATE"

# A locking read sees what is committed now, also in a caller's REPEATABLE READ.
_LIVES = "SELECT 1 FROM vtasks_message WHERE uid = %s AND unique_key = %s LOCK IN SHARE MODE"

_TAKE = "UPDATE vtasks_uniquekey SET uid = %s, until = %s WHERE queue = %s AND `key` = %s"

_WAITS = "SELECT 1 FROM vtasks_message WHERE uid = %s AND unique_key = %s AND attempt = 0"

_MERGE = """
UPDATE vtasks_message SET state = 1, body = %s, run_at = LEAST(%s, COALESCE(created_at + %s, %s))
WHERE uid = %s AND attempt = 0
"""

_MERGE_INTO_FIRST = """
UPDATE vtasks_message SET body = %s WHERE uid = %s AND attempt = 0 AND run_at IS NULL
"""

_FREE = """
SELECT k.queue, k.`key`, k.uid FROM vtasks_uniquekey AS k WHERE k.until <= %s
  AND NOT EXISTS (SELECT 1 FROM vtasks_message AS m WHERE m.uid = k.uid) LIMIT %s
"""


def take(step: Step, message: Message) -> str | None:
    """Take the message's key for it; who holds it, if another message does."""
    if held := step.rows(_HELD, message.queue, message.unique, message.id, step.now):
        return str(held[0][0])
    owner, until = _locked(step, message)
    if owner != message.id and (until > step.now or step.rows(_LIVES, owner, message.unique)):
        return owner
    _put_down(step, message)
    return None


def merge_or_take(step: Step, message: Message) -> str | None:
    """Let the holder of the key take the message's body; take the key, if it cannot.

    Who it was is returned. That it cannot is seen without a lock where that suffices: the lock on
    a message that runs would keep its worker waiting for the caller.
    """
    owner, _ = _locked(step, message)
    if owner != message.id and step.rows(_WAITS, owner, message.unique):
        if message.leads and step.run(_MERGE_INTO_FIRST, message.body, owner) == 1:
            return owner
        due = message.due(step.now)
        if step.run(_MERGE, message.body, due, message.debounce_max, due, owner) == 1:
            return owner
    _put_down(step, message)
    return None


def _locked(step: Step, message: Message) -> tuple[str, float]:
    """Lock the key; whom it belonged to, or belongs to now, and until when at least."""
    step.run(_LOCK, message.queue, message.unique, *_mine(step, message))
    [(owner, until)] = step.rows(_OWNER, message.queue, message.unique)
    return str(owner), float(until)


def _put_down(step: Step, message: Message) -> None:
    step.run(_TAKE, *_mine(step, message), message.queue, message.unique)


def _mine(step: Step, message: Message) -> tuple[str, float]:
    return message.id, step.now + (message.keep_unique or 0.0)


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
