"""Unique keys in PostgreSQL: a row says who took a key last; whether it still holds is looked up.

So a lock cannot leak: it ends with its message, however that ends. Who wants keys first locks their
rows, in one order for everybody, and looks in a later statement: under READ COMMITTED that one sees
what those have committed for whom the lock had to wait.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.database.postgres.arrays import Texts, byteas, float8s, texts
from vtasks_asgi.store.database.postgres.plan import Plan, Query, Row

#: A queue and a key of it.
type Key = tuple[str, str]

NOW = "t AS MATERIALIZED (SELECT extract(epoch FROM clock_timestamp())::float8 AS now)"

# A key without a row gets one that nobody holds. Locking rewrites the row: FOR UPDATE would be
# cheaper, but could find it deleted in the meantime.
_LOCK = """
INSERT INTO vtasks_uniquekey AS k (queue, key, uid, until)
SELECT w.queue, w.key, '', 0 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(queue, key, n)
ORDER BY w.n
ON CONFLICT (queue, key) DO UPDATE SET uid = k.uid
"""

_HOLDERS = f"""
WITH {NOW}
SELECT k.queue, k.key, k.uid FROM unnest($1::text[], $2::text[]) AS w(queue, key), t,
    vtasks_uniquekey AS k
WHERE k.queue = w.queue AND k.key = w.key
  AND (k.until > t.now OR EXISTS (
    SELECT 1 FROM vtasks_message AS m WHERE m.uid = k.uid AND m.unique_key = k.key))
"""

# Only for messages that are there by now: one that another process has just pushed takes nothing.
_TAKE = f"""
WITH {NOW}
UPDATE vtasks_uniquekey AS k SET uid = w.uid, until = t.now + w.keep
FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[]) AS w(queue, key, uid, keep), t
WHERE k.queue = w.queue AND k.key = w.key
  AND EXISTS (SELECT 1 FROM vtasks_message AS m WHERE m.uid = w.uid)
"""

_LOCK_WAITING = """
SELECT m.uid FROM vtasks_message AS m
WHERE m.uid = ANY ($1) AND m.attempt = 0 ORDER BY m.seq FOR UPDATE
"""

# Without a maximum the sum is NULL, which least() passes over.
_MERGE = f"""
WITH {NOW}
UPDATE vtasks_message AS m
SET body = w.body,
    state = CASE WHEN w.keep IS NOT NULL AND m.run_at IS NULL THEN m.state ELSE 1 END,
    run_at = CASE WHEN w.keep IS NULL OR m.run_at IS NOT NULL
        THEN least(t.now + w.wait, m.created_at + w.longest) END
FROM unnest($1::text[], $2::bytea[], $3::float8[], $4::float8[], $5::float8[])
    AS w(uid, body, wait, longest, keep), t
WHERE m.uid = w.uid
"""

#: For a statement whose ``gone`` are messages it has just deleted: forgets their keys, unless these
#: are kept for longer. A row that somebody has locked is left to the sweep, so nobody waits here.
FREED = """
locked AS MATERIALIZED (
    SELECT k.queue, k.key FROM gone, t, vtasks_uniquekey AS k
    WHERE k.queue = gone.queue AND k.key = gone.unique_key AND k.uid = gone.uid AND k.until <= t.now
    FOR UPDATE OF k SKIP LOCKED),
freed AS (
    DELETE FROM vtasks_uniquekey AS k USING locked
    WHERE k.queue = locked.queue AND k.key = locked.key)
"""

_UNHELD = """
k.until <= t.now AND NOT EXISTS (
    SELECT 1 FROM vtasks_message AS m WHERE m.uid = k.uid AND m.unique_key = k.key)
"""

_LOCK_UNHELD = f"""
WITH {NOW}
SELECT k.queue, k.key FROM t, vtasks_uniquekey AS k WHERE {_UNHELD}
LIMIT $1 FOR UPDATE OF k SKIP LOCKED
"""

_FORGET = f"""
WITH {NOW}
DELETE FROM vtasks_uniquekey AS k USING t, unnest($1::text[], $2::text[]) AS w(queue, key)
WHERE k.queue = w.queue AND k.key = w.key AND {_UNHELD}
"""


def lock(wanted: Collection[Key]) -> list[Query]:
    """Lock these keys until the transaction ends; the last of the statements names holders."""
    ordered = sorted(set(wanted))
    values = _columns(ordered)
    return [Query(_LOCK, values), Query(_HOLDERS, values)]


def _columns(found: Sequence[Row]) -> tuple[Texts, Texts]:
    return texts(queue for queue, _ in found), texts(key for _, key in found)


def holders(rows: Sequence[Row]) -> dict[Key, str]:
    """Who holds what, from the rows of ``lock``."""
    return {(queue, key): uid for queue, key, uid in rows}


def take(messages: Sequence[Message]) -> Query:
    """Note that these messages hold their keys, which are locked and nobody else's."""
    return Query(
        _TAKE,
        (
            texts(each.queue for each in messages),
            texts(each.unique for each in messages),
            texts(each.id for each in messages),
            float8s(each.keep_unique or 0.0 for each in messages),
        ),
    )


def lock_waiting(holders: Iterable[str]) -> Query:
    """Lock those of these messages that no claim counts of; their ids."""
    return Query(_LOCK_WAITING, (texts(sorted(holders)),))


def merge(messages: Mapping[str, Message]) -> Query:
    """Let the messages of these ids, which are locked, take the bodies of others."""
    others = messages.values()
    return Query(
        _MERGE,
        (
            texts(messages),
            byteas(each.body for each in others),
            float8s(each.debounce for each in others),
            float8s(each.debounce_max for each in others),
            float8s(each.keep_unique for each in others),
        ),
    )


def sweep(limit: int) -> Plan[None]:
    """Forget up to ``limit`` keys that nobody holds any more."""
    [found] = yield [Query(_LOCK_UNHELD, (limit,))]
    if found:
        yield [Query(_FORGET, _columns(found))]
