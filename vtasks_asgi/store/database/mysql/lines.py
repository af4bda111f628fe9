"""Claims of a queue in which lines take turns, as functions of a step.

``turn`` of a message in a line is its line's number minus ``LINES`` times its priority, so that the
index over it has the lines of a priority one behind the other, and each in order. A statement looks
for one line: with a place taken from another row these servers read all that is before it.
"""

from collections.abc import Iterator, Sequence

from vtasks_asgi.core.line import KEYLESS, LINES
from vtasks_asgi.store.database.mysql.step import Row, Step, lists
from vtasks_asgi.store.database.turns import Turns, circle, in_turn, shares

#: What a claim needs to know of a message.
COLUMNS = (
    "seq, uid, priority, attempt, crashes, body, history, run_at, unique_key, note,"
    " limit_key, limit_count, limit_interval"
)

_FROM = "FROM vtasks_message FORCE INDEX (vtasks_message_turn) WHERE queue = %s"
_LOCK = "ORDER BY turn, seq LIMIT %s FOR UPDATE SKIP LOCKED"

#: A subquery: does anything stand in a line of this queue? Then claims go by turns.
ANY = f"EXISTS (SELECT 1 {_FROM} AND state = 3)"

_BAND = f"""
SELECT (SELECT priority {_FROM} AND state = 0 AND turn >= %s ORDER BY turn, seq LIMIT 1),
    (SELECT priority {_FROM} AND state = 3 AND turn >= %s ORDER BY turn, seq LIMIT 1)
"""

_HOP = f"SELECT {COLUMNS}, line {_FROM} AND state = 3 AND turn >= %s AND turn < %s {_LOCK}"

_MORE = f"SELECT {COLUMNS}, line {_FROM} AND state = %s AND turn = %s AND seq > %s {_LOCK}"

_OF = "SELECT seq, line FROM vtasks_message WHERE seq IN %s AND line IS NOT NULL"

#: Above every priority.
_TOP = 32767


def take(step: Step, queue: str, limit: int, turns: Turns) -> list[Row]:
    """Lock the best: by priority, then by turns."""
    taken: list[Row] = []
    ceiling = _TOP
    while len(taken) < limit:
        [found] = step.rows(_BAND, queue, -ceiling, queue, -ceiling * LINES)
        priority = max((each for each in found if each is not None), default=None)
        if priority is None:
            break
        band = Band(step, queue, priority, turns.last(queue, priority))
        rows = band.take(limit - len(taken))
        if rows:
            turns.had(queue, priority, _line(rows[-1]))
        taken += rows
        ceiling = priority - 1
    return taken


def of(step: Step, seqs: Sequence[int]) -> dict[int, int]:
    """The lines of those of these messages that have one."""
    found: dict[int, int] = {}
    for some in lists(seqs):
        found.update(step.rows(_OF, some))
    return found


class Band:
    """The messages of one priority. ``last`` is the line that had the last turn."""

    def __init__(self, step: Step, queue: str, priority: int, last: int) -> None:
        self._step = step
        self._queue = queue
        self._priority = priority
        self._last = last

    def take(self, wanted: int) -> list[Row]:
        """Lock one of each line, then as many more of each as it takes."""
        lines: dict[int, list[Row]] = {}
        for row in self._first_round():
            lines[_line(row)] = [row]
            if len(lines) == wanted:
                break
        rows = [row for line in lines.values() for row in line]
        going = list(lines)
        while going and (left := wanted - len(rows)) > 0:
            going = circle(going, _line(self._in_turn(rows)[-1]))
            asked = dict(zip(going, shares(left, len(going)), strict=True))
            for line in filter(asked.get, going):
                more = self._more(line, lines[line][-1][0], asked[line])
                lines[line] += more
                rows += more
                if len(more) < asked[line]:
                    del asked[line]
            going = list(asked)
        return self._in_turn(rows)

    def _in_turn(self, rows: list[Row]) -> list[Row]:
        return in_turn(rows, _line, self._last)

    def _first_round(self) -> Iterator[Row]:
        """The first of each line: of those after the last, of the keyless one, of the others."""
        yield from self._hops(self._last + 1, LINES)
        yield from self._more(KEYLESS, 0, 1)
        yield from self._hops(0, self._last + 1)

    def _hops(self, line: int, end: int) -> Iterator[Row]:
        base = -self._priority * LINES
        while rows := self._step.rows(_HOP, self._queue, base + line, base + end, 1):
            yield rows[0]
            line = _line(rows[0]) + 1

    def _more(self, line: int, seq: int, limit: int) -> list[Row]:
        """The oldest of a line after this one."""
        if line == KEYLESS:
            where = (self._queue, 0, -self._priority)
        else:
            where = (self._queue, 3, line - self._priority * LINES)
        return list(self._step.rows(_MORE, *where, seq, limit))


def _line(row: Row) -> int:
    return KEYLESS if row[-1] is None else int(row[-1])
