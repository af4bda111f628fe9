"""Limits by key in MySQL, as functions of a step.

A key's row is its lock, taken after those of messages and in one order by everybody. What is read
then is what others have committed, for the session is READ COMMITTED; in a caller's REPEATABLE READ
it may be older, and what is let go too little there the next reclaim makes good. Messages are never
waited for with a key locked.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vtasks_asgi.core.limits import HELD, HOLD_LIMIT, Gate, Gates, Limit
from vtasks_asgi.store.database.limited import limit_of, some_keys
from vtasks_asgi.store.database.mysql.step import Row, Step, lists

#: A queue and a key of it.
type Key = tuple[str, str]

_FROM = "FROM vtasks_message FORCE INDEX (vtasks_message_limit)"
_OF_KEY = f"{_FROM} WHERE queue = %s AND limit_key = %s AND limit_state ="

_LOCK = """
INSERT INTO vtasks_limit (queue, `key`, tat, held) VALUES (%s, %s, 0, 0)
ON DUPLICATE KEY UPDATE held = held
"""

_TATS = "SELECT `key`, tat FROM vtasks_limit WHERE queue = %s AND `key` IN %s FOR UPDATE"

_TAT = "SELECT tat FROM vtasks_limit WHERE queue = %s AND `key` = %s"

_KEEP = """
UPDATE vtasks_limit SET tat = %s, held = GREATEST(held, %s) WHERE queue = %s AND `key` = %s
"""

_RUNNING = f"""
SELECT limit_key, COUNT(*) {_FROM} WHERE queue = %s AND limit_key IN %s AND limit_state = 2
GROUP BY limit_key ORDER BY NULL
"""

_HOLD = f"UPDATE vtasks_message SET state = 1, run_at = {HELD!r} WHERE seq IN %s"

_ALIKE = "AND limit_count <=> %s AND limit_interval <=> %s"
# The last first, so that those that stay ready in a flood are those that should be.
_READY = f"""
SELECT seq {_OF_KEY} 0 {_ALIKE} ORDER BY limit_turn DESC, seq DESC LIMIT {HOLD_LIMIT}
FOR UPDATE SKIP LOCKED
"""
_DUE = f"""
SELECT seq {_OF_KEY} 1 {_ALIKE} AND limit_turn <= %s LIMIT {HOLD_LIMIT} FOR UPDATE SKIP LOCKED
"""

_FIRST = f"SELECT limit_count, limit_interval {_OF_KEY} 3 ORDER BY limit_turn, seq LIMIT 1"

_AHEAD = f"""
SELECT (SELECT COUNT(*) FROM (SELECT 1 {_OF_KEY} 0 LIMIT %s) AS ready)
     + (SELECT COUNT(*) FROM (SELECT 1 {_OF_KEY} 1 AND limit_turn <= %s LIMIT %s) AS dated)
"""

_NEXT = f"SELECT seq {_OF_KEY} 3 ORDER BY limit_turn, seq LIMIT %s FOR UPDATE SKIP LOCKED"

_LET_GO = """
UPDATE vtasks_message SET state = CASE WHEN %s THEN 1 WHEN line IS NULL THEN 0 ELSE 3 END,
    run_at = %s WHERE seq IN %s
"""

_NOBODY_WAITS = "UPDATE vtasks_limit SET held = 0 WHERE queue = %s AND `key` = %s"

_WAITED_FOR = """
SELECT `key` FROM vtasks_limit WHERE queue = %s AND held = 1 AND `key` >= %s ORDER BY `key` LIMIT %s
"""

_OVER = """
SELECT queue, `key` FROM vtasks_limit WHERE held = 0 AND tat <= %s LIMIT %s FOR UPDATE SKIP LOCKED
"""
_FORGET = "DELETE FROM vtasks_limit WHERE queue = %s AND `key` = %s"


@dataclass(slots=True)
class _Turn:
    """So many of those that wait for a key, as ``anybody`` does, should be due at that time."""

    anybody: bool
    count: int = 0
    due: float = 0.0


def sift(
    step: Step, queue: str, rows: Sequence[Row], where: slice
) -> tuple[Sequence[Row], Gates | None]:
    """Those of these messages, locked and in order, that may start; None: nothing has a limit.

    ``where`` in a row the three columns of its limit are.
    """
    found = [limit_of(*row[where]) for row in rows]
    keys = sorted({limit.key for limit in found if limit is not None})
    if not keys:
        return rows, None
    step.insert(_LOCK, [(queue, key) for key in keys])
    tats: dict[str, float] = {}
    running: dict[str, int] = {}
    for some in lists(keys):
        tats.update(step.rows(_TATS, queue, some))
        running.update(step.rows(_RUNNING, queue, some))
    gates = Gates(lambda key: Gate(step.now, running.get(key, 0), tats.get(key, 0.0)))
    admitted = [limit is None or gates.admit(limit) for limit in found]
    return [row for row, good in zip(rows, admitted, strict=True) if good], gates


def put_aside(step: Step, queue: str, gates: Gates, denied: Sequence[int]) -> float | None:
    """What may not start, and what is like it; when more will be due, if that is known.

    The others of the claim run by now.
    """
    for seqs in lists(denied):
        step.run(_HOLD, seqs)
    full = {limit.key for limit in gates.denied}
    for key in gates.keys:
        step.run(_KEEP, gates.passed[key].tat, key in full, queue, key)
    for limit in gates.denied:
        alike = (queue, limit.key, limit.concurrency, limit.interval)
        due = gates.passed[limit.key].due(limit)
        found = (*step.rows(_READY, *alike), *step.rows(_DUE, *alike, due))
        for seqs in lists([seq for (seq,) in found]):
            step.run(_HOLD, seqs)
    dates = [_let_go(step, queue, key) for key in gates.keys]
    return step.now if denied else min((date for date in dates if date is not None), default=None)


def let_go(step: Step, keys: Iterable[Key]) -> None:
    """Give those that wait for these keys, in order, dates: as many as there should be."""
    for queue, key in keys:
        step.insert(_LOCK, [(queue, key)])
        _let_go(step, queue, key)


def _let_go(step: Step, queue: str, key: str) -> float | None:
    """With the key locked; the date."""
    turn = _turn(step, queue, key)
    if not turn.anybody:
        step.run(_NOBODY_WAITS, queue, key)
    if not turn.count:
        return None
    for seqs in lists([seq for (seq,) in step.rows(_NEXT, queue, key, turn.count)]):
        step.run(_LET_GO, turn.due > step.now, turn.due, seqs)
    return turn.due


def _turn(step: Step, queue: str, key: str) -> _Turn:
    rows = step.rows(_FIRST, queue, key)
    if not rows:
        return _Turn(False)
    limit = Limit(key, *rows[0])
    running = 0
    if limit.concurrency is not None:
        running = sum(count for _, count in step.rows(_RUNNING, queue, [key]))
    [(tat,)] = step.rows(_TAT, queue, key) or [(0.0,)]
    gate = Gate(step.now, running, tat)
    due, wanted = gate.due(limit), gate.wanted(limit)
    if wanted:
        [(ahead,)] = step.rows(_AHEAD, queue, key, wanted, queue, key, due, wanted)
        wanted -= ahead
    return _Turn(True, max(0, wanted), due)


def neglected(step: Step, queue: str) -> list[Key]:
    """Keys whose messages wait for somebody who is no longer there. Locks nothing."""
    waited_for = some_keys(lambda start, limit: list(step.rows(_WAITED_FOR, queue, start, limit)))
    turns = ((key, _turn(step, queue, key)) for (key,) in waited_for)
    return [(queue, key) for key, turn in turns if turn.count or not turn.anybody]


def sweep(step: Step, limit: int) -> None:
    """Forget up to ``limit`` keys whose pace is over."""
    for queue, key in step.rows(_OVER, step.now, limit):
        step.run(_FORGET, queue, key)
