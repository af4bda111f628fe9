"""One atomic step on the server: a cursor in an open transaction, and the time it began at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any, Self

type Row = tuple[Any, ...]

# Not UNIX_TIMESTAMP(NOW(6)): that goes through the session's time zone, where an hour comes twice.
CLOCK = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1e6"

#: Values of one IN list. MariaDB makes a subquery of lists of a thousand.
LIST_LIMIT = 500


@dataclass(slots=True)
class Step:
    """What the verbs run their statements with. ``now`` is the server's, in epoch seconds.

    A list among the values stands for all its items, in parentheses; it must not be empty.
    """

    cursor: Any
    now: float

    @classmethod
    def begin(cls, cursor: Any) -> Self:
        """Ask for the time; where autocommit is off, this begins the transaction."""
        cursor.execute(CLOCK)
        return cls(cursor, cursor.fetchone()[0])

    def rows(self, query: str, *values: Any) -> Sequence[Row]:
        self.cursor.execute(query, values)
        found: Sequence[Row] = self.cursor.fetchall()
        return found

    def run(self, query: str, *values: Any) -> int:
        """How many rows it matched, also where nothing changed."""
        self.cursor.execute(query, values)
        count: int = self.cursor.rowcount
        return count

    def insert(self, query: str, rows: Sequence[Row]) -> None:
        """Many rows by few statements; ``query`` ends in VALUES and one row of ``%s``."""
        if rows:
            self.cursor.executemany(query, rows)


def lists[T](items: Sequence[T]) -> Iterator[list[T]]:
    """All items, as lists that a statement can take."""
    return map(list, batched(items, LIST_LIMIT))
