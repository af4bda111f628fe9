"""What the engines' queries share: the numbers of states, and how a row becomes a record."""

from typing import Any

from vtasks_asgi.core.limits import HELD
from vtasks_asgi.store.base import Record, State

#: A message that is ready and has a line is ``LINED``: who claims without lines never meets one.
READY, DELAYED, RUNNING, LINED = 0, 1, 2, 3

#: States of live messages by the number in their ``state`` column, and the other way round.
STATES = {
    READY: State.READY,
    DELAYED: State.DELAYED,
    RUNNING: State.RUNNING,
    LINED: State.READY,
}
CONDITIONS = {
    State.READY: f"state IN ({READY}, {LINED})",
    State.DELAYED: f"state = {DELAYED}",
    State.RUNNING: f"state = {RUNNING}",
}

MIGRATE = (
    "the tables are missing: add 'vtasks_asgi.db' to INSTALLED_APPS and run 'manage.py migrate'"
)

#: Delayed messages promoted within one claim; a larger backlog follows with the next ones.
PROMOTE_LIMIT = 10_000

LIVE_ROWS = """
SELECT uid, queue, body, priority, attempt, crashes, history, note, state, run_at, worker,
    started_at, seq
FROM vtasks_message
"""
DEAD_ROWS = """
SELECT uid, queue, body, priority, attempt, crashes, history, note, reason, finished_at, seq
FROM vtasks_deadletter
"""
DONE_ROWS = """
SELECT uid, queue, body, priority, value, history, note, finished_at, seq
FROM vtasks_result
"""

#: Where the messages of a state are, and the column that tells how old they are.
TABLES = {
    State.READY: ("vtasks_message", "created_at"),
    State.DELAYED: ("vtasks_message", "created_at"),
    State.RUNNING: ("vtasks_message", "created_at"),
    State.DONE: ("vtasks_result", "finished_at"),
    State.DEAD: ("vtasks_deadletter", "finished_at"),
}


def live_record(row: tuple[Any, ...]) -> Record:
    """A row of ``LIVE_ROWS``."""
    uid, queue, body, priority, attempt, crashes, history, note = row[:8]
    state, run_at, worker, started = row[8:12]
    return Record(
        uid,
        queue,
        STATES[state],
        body,
        priority,
        run_at=None if run_at is not None and run_at >= HELD else run_at,
        attempt=attempt,
        crashes=crashes,
        history=history,
        worker=worker,
        started_at=started,
        note=note,
    )


def dead_record(row: tuple[Any, ...]) -> Record:
    """A row of ``DEAD_ROWS``."""
    uid, queue, body, priority, attempt, crashes, history, note, reason, finished = row[:10]
    return Record(
        uid,
        queue,
        State.DEAD,
        body,
        priority,
        attempt=attempt,
        crashes=crashes,
        history=history,
        reason=reason,
        finished_at=finished,
        note=note,
    )


def done_record(row: tuple[Any, ...]) -> Record:
    """A row of ``DONE_ROWS``."""
    uid, queue, body, priority, value, history, note, finished = row[:8]
    return Record(
        uid,
        queue,
        State.DONE,
        body,
        priority,
        value=value,
        history=history,
        finished_at=finished,
        note=note,
    )


def page[T](rows: list[T], limit: int) -> tuple[list[T], str | None]:
    """Of ``limit`` + 1 rows that end in ``seq``: a page, and the cursor of the next."""
    last: Any = rows[limit - 1] if len(rows) > limit else None
    return rows[:limit], None if last is None else str(last[-1])
