"""A verb as a plan: a generator that yields statements and is sent their rows.

So the same verb runs on the async pool, on a blocking connection and on Django's own. The
statements of one step share a round trip (libpq's pipeline), and outside a transaction they are
one. A plan of several steps needs a transaction around it, which is the runner's business.
"""

from collections.abc import Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, RawCursor
from psycopg.rows import tuple_row

from vtasks_asgi.store.database.postgres import arrays

type Row = tuple[Any, ...]
type Plan[T] = Generator[Step, list[list[Row]], T]


@dataclass(slots=True)
class Query:
    """A statement, and the values of ``$1``, ``$2`` ..."""

    text: str
    values: Sequence[Any] = ()
    #: It asks for a few rows through an index, whatever the planner may think; see ``TUNE``.
    tuned: bool = True


type Step = Sequence[Query]

#: Statistics taken while a queue was short would have the planner sort a million rows, until the
# table is analysed again. Only for the transaction, so not where that is the caller's.
TUNE = Query(
    "SELECT "
    + ", ".join(
        f"set_config('{name}', '{value}', true)"
        for name, value in {
            "enable_seqscan": "off",
            "enable_bitmapscan": "off",
            "enable_sort": "off",
            "enable_hashjoin": "off",
            "enable_mergejoin": "off",
            "jit": "off",  # the costs of what is switched off above would set it going
            "plan_cache_mode": "force_generic_plan",
        }.items()
    )
)


def tuned(step: Step) -> Step:
    """The step as it is to be sent where the transaction is ours."""
    return [TUNE, *step] if any(query.tuned for query in step) else step


def run_sync[T](
    connection: "Connection[Any]", plan: Plan[T], *, prepare: bool | None, ours: bool = True
) -> T:
    """Run a plan to its end, on any psycopg connection and in its transaction, if it has one.

    ``ours``: the transaction is, or there is none.
    """
    try:
        step = next(plan)
        while True:
            sent = tuned(step) if ours else step
            cursors = [_cursor(connection) for _ in sent]
            with connection.pipeline() if len(sent) > 1 else nullcontext():
                for cursor, query in zip(cursors, sent, strict=True):
                    cursor.execute(query.text, query.values, prepare=prepare, binary=True)
            answers = cursors[-len(step) :]
            step = plan.send([each.fetchall() if each.description else [] for each in answers])
    except StopIteration as end:
        value: T = end.value
        return value


def _cursor(connection: "Connection[Any]") -> RawCursor[Row]:
    cursor = RawCursor(connection, row_factory=tuple_row)
    arrays.register(cursor.adapters)
    return cursor
