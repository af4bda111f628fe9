"""What onlookers and operators ask of the PostgreSQL tables, as plans."""

from collections.abc import Sequence

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.base import QueueStats, Record, State, Ticks
from vtasks_asgi.store.database.postgres import keys, limits
from vtasks_asgi.store.database.postgres.arrays import texts
from vtasks_asgi.store.database.postgres.keys import NOW
from vtasks_asgi.store.database.postgres.plan import Plan, Query, Row
from vtasks_asgi.store.database.queues import BY_STATE, known_queues
from vtasks_asgi.store.database.records import (
    CONDITIONS,
    DEAD_ROWS,
    DONE_ROWS,
    LIVE_ROWS,
    READY,
    STATES,
    TABLES,
    dead_record,
    done_record,
    live_record,
    page,
)
from vtasks_asgi.store.inspector import cursor_position

#: Rows deleted in one transaction by ``purge``: claims must step over what it has locked.
PURGE_CHUNK = 5000

# One statement, for a message moves between the tables; then each row in the form of its own table.
_LOOKUP = f"""
WITH {NOW}
SELECT uid, queue, body, priority, attempt, crashes, history, note, state, run_at, worker,
    started_at, NULL::text, NULL::float8, NULL::bytea
FROM vtasks_message WHERE uid = ANY ($1)
UNION ALL
SELECT uid, queue, body, priority, attempt, crashes, history, note, 6, NULL, NULL, NULL, reason,
    finished_at, NULL
FROM vtasks_deadletter WHERE uid = ANY ($1)
UNION ALL
SELECT uid, queue, body, priority, NULL, NULL, history, note, 4, NULL, NULL, NULL, NULL,
    finished_at, value
FROM vtasks_result WHERE uid = ANY ($1) AND expires_at > (SELECT now FROM t)
"""
_DEAD, _DONE = 6, 4  # beside the states of live messages

_STATS = f"""
WITH {NOW}
SELECT m.queue, CASE WHEN m.state = 3 OR m.state = 1 AND m.run_at <= t.now THEN 0 ELSE m.state END,
    count(*), t.now - min(greatest(m.created_at, m.run_at))
FROM vtasks_message AS m, t WHERE m.queue = ANY ($1) GROUP BY 1, 2, t.now
UNION ALL
SELECT d.queue, 6, count(*), NULL FROM vtasks_deadletter AS d WHERE d.queue = ANY ($1) GROUP BY 1
UNION ALL
SELECT p.name, 5, 0, NULL FROM vtasks_pause AS p, t
WHERE p.kind = 0 AND p.name = ANY ($1) AND (p.until IS NULL OR p.until > t.now)
"""
_PAUSED = 5

_KNOWN = known_queues(*BY_STATE)

_TICKS = f"""
WITH {NOW}
SELECT t.now, k.schedule, k.at FROM t LEFT JOIN vtasks_tick AS k ON k.schedule = ANY ($1)
"""

_BURIED = """
SELECT uid, queue, unique_key FROM vtasks_deadletter WHERE uid = ANY ($1) ORDER BY seq FOR UPDATE
"""

_EXHUME = f"""
WITH {NOW},
letter AS (
    DELETE FROM vtasks_deadletter AS d USING unnest($1::text[]) WITH ORDINALITY AS w(uid, n)
    WHERE d.uid = w.uid RETURNING w.n, d.uid, d.queue, d.priority, d.body, d.unique_key, d.note,
        d.limit_key, d.limit_count, d.limit_interval, d.line)
INSERT INTO vtasks_message
    (uid, queue, state, priority, created_at, attempt, crashes, body, unique_key, note,
    limit_key, limit_count, limit_interval, line)
SELECT uid, queue, CASE WHEN line IS NULL THEN 0 ELSE 3 END, priority, t.now, 0, 0, body,
    unique_key, note, limit_key, limit_count, limit_interval, line
FROM letter, t ORDER BY n
ON CONFLICT (uid) DO NOTHING
"""

_PRUNE = f"""
WITH {NOW}
DELETE FROM vtasks_result WHERE seq = ANY (ARRAY(
    SELECT seq FROM vtasks_result WHERE expires_at <= (SELECT now FROM t)
    ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING 1
"""


def possible(ids: Sequence[str]) -> list[str]:
    """Those that may be ids at all."""
    return [uid for uid in ids if uid.isascii() and "\0" not in uid]


def lookup(ids: Sequence[str]) -> Plan[dict[str, Record]]:
    """Records by id; a result past its time is gone even before it is pruned."""
    [rows] = yield [Query(_LOOKUP, (texts(possible(ids)),))]
    return {row[0]: _record(row) for row in rows}


def _record(row: Row) -> Record:
    reason, finished, value = row[12:]
    if row[8] == _DEAD:
        return dead_record((*row[:8], reason, finished))
    if row[8] == _DONE:
        return done_record((*row[:4], value, *row[6:8], finished))
    return live_record(row)


def stats(queues: Sequence[str]) -> Plan[dict[str, QueueStats]]:
    """Counts for each queue asked for."""
    [rows] = yield [Query(_STATS, (texts(queues),), tuned=False)]
    result = {queue: QueueStats() for queue in queues}
    for queue, state, count, waited in rows:
        if state == _PAUSED:
            result[queue].paused = True
            continue
        of = State.DEAD if state == _DEAD else STATES[state]
        setattr(result[queue], of.value, count)
        if state == READY:
            result[queue].oldest_ready = max(0.0, waited)
    return result


def known() -> Plan[list[str]]:
    """The queues there are."""
    [rows] = yield [Query(_KNOWN, (), tuned=False)]
    return sorted(queue for (queue,) in rows)


def browse(
    queue: str, state: State, *, limit: int, cursor: str | None
) -> Plan[tuple[list[Record], str | None]]:
    """A page in the order of arrival."""
    if limit < 1:
        raise ValueError("limit must be at least 1")
    after = cursor_position(cursor)
    make, rows_of, among = live_record, LIVE_ROWS, CONDITIONS.get(state)
    if state is State.DEAD:
        make, rows_of, among = dead_record, DEAD_ROWS, "true"
    elif state is State.DONE:
        make, rows_of, among = done_record, DONE_ROWS, "expires_at > (SELECT now FROM t)"
    text = f"""
    WITH {NOW} {rows_of} WHERE queue = $1 AND {among} AND seq > $2 ORDER BY seq LIMIT $3
    """
    [rows] = yield [Query(text, (queue, after, limit + 1))]
    found, following = page(rows, limit)
    return [make(row) for row in found], following


def requeue(ids: Sequence[str]) -> Plan[tuple[int, set[str]]]:
    """Dead letters back to ready, as if just enqueued; how many, and their queues.

    One whose unique key is held stays.
    """
    [rows] = yield [Query(_BURIED, (texts(possible(ids)),))]
    letters = {uid: Message(uid, queue, b"", unique=key) for uid, queue, key in rows}
    wanted = {(each.queue, each.unique) for each in letters.values() if each.unique is not None}
    holders: dict[keys.Key, str] = {}
    if wanted:
        [*_, held] = yield keys.lock(wanted)
        holders = keys.holders(held)
    free = []
    for letter in (letters[uid] for uid in dict.fromkeys(ids) if uid in letters):
        key = (letter.queue, letter.unique or "")
        if letter.unique is None or holders.setdefault(key, letter.id) == letter.id:
            free.append(letter)
    if free:
        exhume = Query(_EXHUME, (texts(letter.id for letter in free),))
        yield [exhume, keys.take([e for e in free if e.unique is not None])]
    return len(free), {letter.queue for letter in free}


def purge(queue: str, state: State, before: float | None) -> Plan[int]:
    """Delete one chunk of a state, or of what is older than ``before``; how many it was."""
    table, age = TABLES[state]
    among = CONDITIONS.get(state, "true")
    text = f"""
    DELETE FROM {table} WHERE seq = ANY (ARRAY(
        SELECT seq FROM {table}
        WHERE queue = $1 AND {among} AND ($2::float8 IS NULL OR {age} < $2)
        ORDER BY seq LIMIT {PURGE_CHUNK} FOR UPDATE))
    RETURNING 1
    """
    [rows] = yield [Query(text, (queue, before))]
    return len(rows)


def prune(limit: int) -> Plan[int]:
    """Delete results past their time, oldest first, and unique keys nobody holds."""
    limit = max(limit, 0)
    yield from keys.sweep(limit)
    [rows, _] = yield [Query(_PRUNE, (limit,)), limits.sweep(limit)]
    return len(rows)


def ticks(schedules: Sequence[str]) -> Plan[Ticks]:
    """The server's time, and the last tick of each schedule that has one."""
    [rows] = yield [Query(_TICKS, (texts(schedules),))]
    return Ticks(rows[0][0], {name: at for _, name, at in rows if name is not None})
