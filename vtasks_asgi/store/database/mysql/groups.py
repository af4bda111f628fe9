"""Groups in MySQL, as functions of a step.

Whoever marks members locks the rows of their groups first, in one order for everybody.
"""

from collections.abc import Sequence

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.database.groups import RECORD, record, refused
from vtasks_asgi.store.database.mysql import push
from vtasks_asgi.store.database.mysql.step import Step, lists
from vtasks_asgi.store.groups import LOOKS, GroupRecord, Mark, NewGroup, Opened

_OPEN = """
INSERT INTO vtasks_group
    (uid, plan, total, pending, keep, created_at, looked_at, place)
VALUES (%s, %s, %s, %s, %s, %s, %s, -1) ON DUPLICATE KEY UPDATE uid = uid
"""
_ADD = "INSERT INTO vtasks_groupmember (group_uid, uid, n, state) VALUES (%s, %s, %s, 0)"
_DROP = "DELETE FROM vtasks_groupmember WHERE group_uid = %s AND uid IN %s AND state = 0"
_FEWER = "UPDATE vtasks_group SET total = total - %s, pending = pending - %s WHERE uid = %s"

_LOCK = "SELECT uid, expires_at FROM vtasks_group WHERE uid IN %s ORDER BY uid FOR UPDATE"
_MARK = "UPDATE vtasks_groupmember SET state = %s WHERE group_uid = %s AND uid IN %s"
# In this order: an assignment sees what those before it have assigned.
_COUNT = """
UPDATE vtasks_group SET looked_at = IF(pending = %s AND expires_at IS NULL, %s, looked_at),
    pending = pending - %s
WHERE uid = %s
"""
_COMPLETE = f"""
SELECT {RECORD} FROM vtasks_group AS g
WHERE g.uid IN %s AND g.pending = 0 AND g.expires_at IS NULL
"""

_CLOSE = """
UPDATE vtasks_group SET looked_at = NULL, expires_at = keep + %s
WHERE uid = %s AND expires_at IS NULL
"""
_FIND = f"""
SELECT {RECORD} FROM vtasks_group AS g
WHERE g.uid = %s AND (g.expires_at IS NULL OR g.expires_at > %s)
"""
_MEMBERS = "SELECT uid, state FROM vtasks_groupmember WHERE group_uid = %s ORDER BY n"

_EXPIRED = """
SELECT uid FROM vtasks_group WHERE expires_at <= %s ORDER BY expires_at LIMIT %s
FOR UPDATE SKIP LOCKED
"""
_DUE = """
SELECT uid, place FROM vtasks_group WHERE looked_at <= %s ORDER BY looked_at LIMIT %s
FOR UPDATE SKIP LOCKED
"""
_PENDING = f"""
SELECT uid, state, n FROM vtasks_groupmember WHERE group_uid = %s AND state = 0 AND n > %s
ORDER BY n LIMIT {LOOKS}
"""
_LOOKED = "UPDATE vtasks_group SET looked_at = %s, place = %s WHERE uid = %s"
_ONE = f"SELECT {RECORD} FROM vtasks_group AS g WHERE g.uid = %s"


def open_group(step: Step, group: NewGroup, messages: Sequence[Message]) -> Opened:
    """The record, its members and their messages."""
    count = len(messages)
    values = (group.id, group.plan, count, count, group.keep, step.now, step.now)
    if step.run(_OPEN, *values) == 1 and not step.rows(f"{_MEMBERS} LIMIT 1", group.id):
        step.insert(_ADD, [(group.id, each.id, n) for n, each in enumerate(messages)])
    receipts = push.push(step, messages)
    for some in lists(refused(receipts)):
        dropped = step.run(_DROP, group.id, some)
        step.run(_FEWER, dropped, dropped, group.id)
    return Opened(receipts, next(iter(_complete(step, [group.id])), None))


def mark(step: Step, marks: Sequence[Mark], *, waiting_only: bool) -> list[GroupRecord]:
    """Note the ends; which of the groups are complete, and not closed."""
    last = {(each.group, each.member): each.state for each in marks}
    ends: dict[tuple[str, int], list[str]] = {}
    for (group, member), state in last.items():
        if group.isascii() and member.isascii():
            ends.setdefault((group, int(state)), []).append(member)
    named = sorted({group for group, _ in ends})
    for some in lists(named):
        step.rows(_LOCK, some)
    for (group, number), members in sorted(ends.items()):
        for some in lists(members):
            ended = step.run(f"{_MARK} AND state = 0", number, group, some)
            if not waiting_only:
                step.run(f"{_MARK} AND state <> 0", number, group, some)
            if ended:
                step.run(_COUNT, ended, step.now, ended, group)
    return _complete(step, named)


def _complete(step: Step, ids: Sequence[str]) -> list[GroupRecord]:
    return [record(row) for some in lists(ids) for row in step.rows(_COMPLETE, some)]


def close(step: Step, ids: Sequence[str]) -> None:
    """From now on they grow old."""
    for uid in sorted(filter(str.isascii, ids)):
        step.run(_CLOSE, step.now, uid)


def find(step: Step, uid: str, *, members: bool) -> GroupRecord | None:
    """One group, None when it is not kept."""
    rows = step.rows(_FIND, uid, step.now) if uid.isascii() else ()
    if not rows:
        return None
    return record(rows[0], [(m, s) for m, s in step.rows(_MEMBERS, uid)] if members else ())


def sweep(step: Step, limit: int, patience: float) -> list[GroupRecord]:
    """Delete what is past its time, and look at what has not been looked at."""
    most = max(limit, 0)
    for (uid,) in step.rows(_EXPIRED, step.now, most):
        step.run("DELETE FROM vtasks_groupmember WHERE group_uid = %s", uid)
        step.run("DELETE FROM vtasks_group WHERE uid = %s", uid)
    found = []
    for uid, place in step.rows(_DUE, step.now - patience, most):
        pending = step.rows(_PENDING, uid, place)
        after = pending[-1][-1] if len(pending) == LOOKS else -1
        step.run(_LOOKED, step.now, after, uid)
        [row] = step.rows(_ONE, uid)
        found.append(record(row, ((member, state) for member, state, _ in pending)))
    return found
