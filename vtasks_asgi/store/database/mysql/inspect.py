"""What onlookers ask of the MySQL tables, as functions of a step."""

from collections.abc import Callable, Sequence
from typing import Any

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.base import QueueStats, Record, State
from vtasks_asgi.store.database.mysql import control, limits, unique
from vtasks_asgi.store.database.mysql.dead import erase
from vtasks_asgi.store.database.mysql.step import Row, Step, lists
from vtasks_asgi.store.database.queues import known_queues
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

#: Messages deleted in one step of a purge.
PURGE_LIMIT = 2000

_COUNT = """
SELECT queue, CASE WHEN state = 3 OR state = 1 AND run_at <= %s THEN 0 ELSE state END AS is_now,
    COUNT(*), MIN(GREATEST(created_at, COALESCE(run_at, created_at)))
FROM vtasks_message WHERE queue IN %s GROUP BY queue, is_now
"""

_KNOWN = known_queues("1 = 1")  # one index has all states

_COUNT_DEAD = "SELECT queue, COUNT(*) FROM vtasks_deadletter WHERE queue IN %s GROUP BY queue"

_EXHUME = """
INSERT INTO vtasks_message
    (uid, queue, state, priority, created_at, attempt, crashes, body, unique_key, note,
    limit_key, limit_count, limit_interval, line)
SELECT uid, queue, CASE WHEN line IS NULL THEN 0 ELSE 3 END, priority, %s, 0, 0, body, unique_key,
    note, limit_key, limit_count, limit_interval, line
FROM vtasks_deadletter WHERE seq = %s
"""


def lookup(step: Step, ids: Sequence[str]) -> dict[str, Record]:
    """Records by id; a result past its time is gone even before it is pruned."""
    found: dict[str, Record] = {}

    def add(rows: Sequence[Row], make: Callable[[Row], Record]) -> None:
        found.update((record.id, record) for record in map(make, rows))

    for some in lists([uid for uid in ids if uid.isascii()]):
        add(step.rows(f"{LIVE_ROWS} WHERE uid IN %s", some), live_record)
        add(step.rows(f"{DEAD_ROWS} WHERE uid IN %s", some), dead_record)
        query = f"{DONE_ROWS} WHERE uid IN %s AND expires_at > %s"
        add(step.rows(query, some, step.now), done_record)
    return found


def stats(step: Step, queues: Sequence[str]) -> dict[str, QueueStats]:
    """Counts for each queue asked for."""
    result = {queue: QueueStats() for queue in queues}
    for some in lists(list(result)):
        for queue, state, count, oldest in step.rows(_COUNT, step.now, some):
            setattr(result[queue], STATES[state].value, count)
            if state == READY:
                result[queue].oldest_ready = max(0.0, step.now - oldest)
        for queue, count in step.rows(_COUNT_DEAD, some):
            result[queue].dead = count
    for queue in control.paused(step).queues.keys() & result.keys():
        result[queue].paused = True
    return result


def known(step: Step) -> list[str]:
    """The queues there are."""
    return sorted(str(queue) for (queue,) in step.rows(_KNOWN))


def browse(
    step: Step, queue: str, state: State, *, limit: int, cursor: str | None
) -> tuple[list[Record], str | None]:
    """A page in the order of arrival."""
    after = cursor_position(cursor)
    rest = "AND seq > %s ORDER BY seq LIMIT %s"
    make: Callable[[Row], Record]
    if state is State.DEAD:
        rows = step.rows(f"{DEAD_ROWS} WHERE queue = %s {rest}", queue, after, limit + 1)
        make = dead_record
    elif state is State.DONE:
        query = f"{DONE_ROWS} WHERE queue = %s AND expires_at > %s {rest}"
        rows = step.rows(query, queue, step.now, after, limit + 1)
        make = done_record
    else:
        query = f"{LIVE_ROWS} WHERE queue = %s AND {CONDITIONS[state]} {rest}"
        rows = step.rows(query, queue, after, limit + 1)
        make = live_record
    found, following = page(list(rows), limit)
    return [make(row) for row in found], following


def requeue(step: Step, ids: Sequence[str]) -> int:
    """Dead letters back to ready, as if just enqueued."""
    query = (
        "SELECT uid, seq, queue, unique_key FROM vtasks_deadletter"
        " WHERE uid IN %s ORDER BY seq FOR UPDATE"
    )
    count = 0
    for some in lists([uid for uid in dict.fromkeys(ids) if uid.isascii()]):
        letters = {row[0]: row[1:] for row in step.rows(query, some)}
        for uid in filter(letters.__contains__, some):
            seq, queue, key = letters[uid]
            if key is None or unique.take(step, Message(uid, queue, b"", unique=key)) is None:
                step.run(_EXHUME, step.now, seq)
                count += step.run("DELETE FROM vtasks_deadletter WHERE seq = %s", seq)
    return count


def purge(step: Step, queue: str, state: State, before: float | None) -> tuple[int, bool]:
    """Delete some of one state, or of those older than ``before``: how many, and is there more?

    They are looked for without locks and looked at again when deleted.
    """
    table, age = TABLES[state]
    where = "queue = %s"
    values: list[Any] = [queue]
    if state in CONDITIONS:
        where += f" AND {CONDITIONS[state]}"
    if before is not None:
        where += f" AND {age} < %s"
        values.append(before)
    found = step.rows(f"SELECT seq FROM {table} WHERE {where} LIMIT {PURGE_LIMIT}", *values)
    deleted = erase(step, table, [seq for (seq,) in found], where, *values)
    return deleted, len(found) == PURGE_LIMIT and deleted > 0


def prune(step: Step, limit: int) -> int:
    """Delete results past their time, oldest first, and unique keys nobody holds."""
    unique.sweep(step, max(limit, 0))
    limits.sweep(step, max(limit, 0))
    query = "SELECT seq FROM vtasks_result WHERE expires_at <= %s ORDER BY expires_at LIMIT %s"
    found = step.rows(query, step.now, max(limit, 0))
    return erase(step, "vtasks_result", [seq for (seq,) in found])


def ticks(step: Step, schedules: Sequence[str]) -> dict[str, float]:
    """The last tick of each schedule that has one."""
    last: dict[str, float] = {}
    for some in lists(schedules):
        last.update(step.rows("SELECT schedule, at FROM vtasks_tick WHERE schedule IN %s", some))
    return last
