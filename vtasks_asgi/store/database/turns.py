"""Whose turn it is among the lines of a queue, as the engines on databases keep it.

The place in the round is this process's own: nothing is written for it, and no other process waits.
With several processes each goes its own rounds, so between two turns of a line each other has at
most one of each process.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from vtasks_asgi.core.line import KEYLESS


class Turns:
    """The line that had the last turn, in each priority of a queue."""

    def __init__(self) -> None:
        self._last: defaultdict[str, dict[int, int]] = defaultdict(dict)

    def of(self, queue: str) -> dict[int, int]:
        """That line by priority, where there was a turn at all."""
        return self._last[queue]

    def last(self, queue: str, priority: int) -> int:
        """That line; the keyless one where there was no turn yet."""
        return self._last[queue].get(priority, KEYLESS)

    def had(self, queue: str, priority: int, line: int) -> None:
        """This line has had a turn."""
        self._last[queue][priority] = line


def in_turn[R](rows: Iterable[R], line_of: Callable[[R], int], last: int) -> list[R]:
    """What was taken of one priority, each line's in order, as if it had been turn by turn."""
    had: Counter[int] = Counter()
    placed = []
    for row in rows:
        line = line_of(row)
        placed.append(((had[line], line <= last, line), row))
        had[line] += 1
    placed.sort(key=lambda each: each[0])
    return [row for _, row in placed]


def circle(lines: Iterable[int], last: int) -> list[int]:
    """These lines in the order of their turns."""
    return sorted(lines, key=lambda line: (line <= last, line))


def shares(total: int, count: int) -> list[int]:
    """What each of so many has of a total, turn by turn."""
    return [total // count + (number < total % count) for number in range(count)]
