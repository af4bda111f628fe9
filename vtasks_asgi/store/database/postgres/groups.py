"""Groups in PostgreSQL, as plans.

Whoever marks members locks the rows of their groups first, in one order for everybody, and counts
in a later statement: so the last of those who mark at once sees what all others have marked.
"""

from collections.abc import Sequence

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.database.groups import RECORD, record, refused
from vtasks_asgi.store.database.postgres import push
from vtasks_asgi.store.database.postgres.arrays import int8s, texts
from vtasks_asgi.store.database.postgres.inspect import possible
from vtasks_asgi.store.database.postgres.keys import NOW
from vtasks_asgi.store.database.postgres.plan import Plan, Query, Row
from vtasks_asgi.store.groups import LOOKS, GroupRecord, Mark, NewGroup, Opened

_OPEN = f"""
WITH {NOW},
opened AS (
    INSERT INTO vtasks_group (uid, plan, total, pending, keep, created_at, looked_at, place)
    SELECT $1::text, $2::bytea, $3::int8, $3::int8, $4::int8, t.now, t.now, -1 FROM t
    ON CONFLICT (uid) DO NOTHING RETURNING uid)
INSERT INTO vtasks_groupmember (group_uid, uid, n, state)
SELECT opened.uid, m.uid, m.n - 1, 0 FROM opened, unnest($5::text[]) WITH ORDINALITY AS m(uid, n)
ON CONFLICT (group_uid, uid) DO NOTHING
"""

_DROP = """
WITH dropped AS (
    DELETE FROM vtasks_groupmember WHERE group_uid = $1 AND uid = ANY ($2) AND state = 0
    RETURNING uid)
UPDATE vtasks_group SET total = total - d.n, pending = pending - d.n
FROM (SELECT count(*) AS n FROM dropped) AS d WHERE uid = $1
"""

_LOCK = "SELECT uid FROM vtasks_group WHERE uid = ANY ($1) ORDER BY uid FOR UPDATE"

_MARKED = """
UPDATE vtasks_groupmember AS m SET state = w.state
FROM unnest($1::text[], $2::text[], $3::int8[]) AS w(group_uid, uid, state)
WHERE m.group_uid = w.group_uid AND m.uid = w.uid
"""
_CHANGED = f"{_MARKED} AND m.state <> 0 AND m.state <> w.state"
_ENDED = f"""
WITH {NOW}, ended AS ({_MARKED} AND m.state = 0 RETURNING m.group_uid)
UPDATE vtasks_group AS g SET pending = g.pending - e.n,
    looked_at = CASE WHEN g.pending = e.n AND g.expires_at IS NULL THEN t.now ELSE g.looked_at END
FROM (SELECT group_uid, count(*) AS n FROM ended GROUP BY group_uid) AS e, t
WHERE g.uid = e.group_uid
"""
_COMPLETE = f"""
SELECT {RECORD} FROM vtasks_group AS g
WHERE g.uid = ANY ($1) AND g.pending = 0 AND g.expires_at IS NULL
"""

_CLOSE = f"""
WITH {NOW}
UPDATE vtasks_group AS g SET looked_at = NULL, expires_at = t.now + g.keep FROM t
WHERE g.uid = ANY ($1) AND g.expires_at IS NULL
"""

_FIND = f"""
WITH {NOW}
SELECT {RECORD} FROM vtasks_group AS g, t
WHERE g.uid = $1 AND (g.expires_at IS NULL OR g.expires_at > t.now)
"""
_MEMBERS = "SELECT uid, state FROM vtasks_groupmember WHERE group_uid = $1 ORDER BY n"

_PRUNE = f"""
WITH {NOW},
over AS (
    DELETE FROM vtasks_group WHERE uid = ANY (ARRAY(
        SELECT g.uid FROM vtasks_group AS g WHERE g.expires_at <= (SELECT now FROM t)
        ORDER BY g.expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING uid)
DELETE FROM vtasks_groupmember AS m USING over WHERE m.group_uid = over.uid
"""
_DUE = f"""
WITH {NOW}
SELECT {RECORD}, g.place FROM vtasks_group AS g
WHERE g.looked_at <= (SELECT now FROM t) - $2::float8
ORDER BY g.looked_at LIMIT $1 FOR UPDATE OF g SKIP LOCKED
"""
_PENDING = f"""
SELECT uid, state, n FROM vtasks_groupmember WHERE group_uid = $1 AND state = 0 AND n > $2
ORDER BY n LIMIT {LOOKS}
"""
_LOOKED = f"""
WITH {NOW}
UPDATE vtasks_group AS g SET looked_at = t.now, place = $2 FROM t WHERE g.uid = $1
"""


def open_group(group: NewGroup, messages: Sequence[Message], words: Sequence[str]) -> Plan[Opened]:
    """The record, its members and their messages; of several steps."""
    ids = texts([each.id for each in messages])
    values = (group.id, group.plan, len(messages), group.keep, ids)
    yield [Query(_OPEN, values, tuned=False)]
    receipts = yield from push.push(messages, words)
    step = [Query(_COMPLETE, (texts([group.id]),))]
    if dropped := refused(receipts):
        step.insert(0, Query(_DROP, (group.id, texts(dropped))))
    [*_, rows] = yield step
    return Opened(receipts, record(rows[0]) if rows else None)


def mark(marks: Sequence[Mark], *, waiting_only: bool) -> Plan[list[GroupRecord]]:
    """Note the ends; which of the groups are complete, and not closed. Of several steps."""
    last = {(each.group, each.member): each.state for each in marks}
    pairs = [pair for pair in last if pair[0].isascii() and pair[1].isascii()]
    named = texts(dict.fromkeys(group for group, _ in pairs))
    values = (
        texts(group for group, _ in pairs),
        texts(member for _, member in pairs),
        int8s([last[pair] for pair in pairs]),
    )
    yield [Query(_LOCK, (named,))]
    changed = [] if waiting_only else [Query(_CHANGED, values)]
    [*_, rows] = yield [*changed, Query(_ENDED, values), Query(_COMPLETE, (named,))]
    return [record(row) for row in rows]


def close(ids: Sequence[str]) -> Plan[None]:
    """From now on they grow old."""
    yield [Query(_CLOSE, (texts(possible(ids)),))]


def find(uid: str, *, members: bool) -> Plan[GroupRecord | None]:
    """One group, None when it is not kept."""
    if not possible([uid]):
        return None
    asked = [Query(_FIND, (uid,)), *([Query(_MEMBERS, (uid,))] if members else [])]
    found, *more = yield asked
    return record(found[0], more[0] if more else ()) if found else None


def sweep(limit: int, patience: float) -> Plan[list[GroupRecord]]:
    """Delete what is past its time, and look at what has not been looked at; of several steps."""
    most = max(limit, 0)
    _, due = yield [Query(_PRUNE, (most,)), Query(_DUE, (most, patience))]
    if not due:
        return []
    pending = yield [Query(_PENDING, (row[0], row[-1])) for row in due]
    yield [Query(_LOOKED, (row[0], _after(some))) for row, some in zip(due, pending, strict=True)]
    return [
        record(row, ((uid, state) for uid, state, _ in some))
        for row, some in zip(due, pending, strict=True)
    ]


def _after(looked_at: Sequence[Row]) -> int:
    """Where the next look begins."""
    return int(looked_at[-1][-1]) if len(looked_at) == LOOKS else -1
