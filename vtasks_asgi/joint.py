"""A synchronous task's effects and its settlement in one transaction, so that both are or neither.

Whoever has lost the lease finds that out when settling, and what the task did is rolled back with
it: however often a message is run, its effects in that database come once.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from django.db import InterfaceError, OperationalError, transaction

from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.core.outcome import Done
from vtasks_asgi.runtime.follow import callbacks_of, marks_of
from vtasks_asgi.store.base import Claim, Joining, Settlement

#: Seconds a message waits when its transaction could not be ended, by no fault of its task.
PAUSE = 1.0


class Undone(Exception):
    """What the task did is rolled back, and the run counts for nothing. ``pause`` in seconds."""

    def __init__(self, pause: float = 0.0) -> None:
        super().__init__(pause)
        self.pause = pause


class Joint:
    """Runs tasks in transactions of ``database``.

    ``store`` keeps its messages there. Without one the outcome is settled later, as always.
    """

    def __init__(self, database: str | None, store: Joining | None = None) -> None:
        self._database = database
        self._store = store

    def run(self, claim: Claim, attempt: Callable[[], Done]) -> Done:
        """Call it, and settle what it returns. In the calling thread.

        Raises:
            Undone: the lease was lost, or the database failed while settling or committing.
            BaseException: whatever ``attempt`` raises, and what a commit finds wrong.
        """
        ended = False
        scope: Any = transaction.atomic(using=self._database) if self._database else nullcontext()
        try:
            with scope:
                outcome = attempt()
                ended = True
                if self._store is not None:
                    self._follow(self._store, Settlement(claim, outcome))
                    if self._store.settle_sync([Settlement(claim, outcome)]).lost:
                        raise Undone
                    outcome.recorded = True
        except (StoreError, OperationalError, InterfaceError) as error:
            if ended:
                raise Undone(PAUSE) from error
            raise
        return outcome

    @staticmethod
    def _follow(store: Joining, end: Settlement) -> None:
        """Store what follows it, in the same transaction; see ``runtime.follow``."""
        marks, messages, ended = marks_of([end])
        completed = store.mark_members_sync(marks) if marks else []
        now = time.time()
        if messages := [*messages, *(m for each in completed for m in callbacks_of(each, now))]:
            store.push_sync(messages)
        if ended:
            store.close_groups_sync(ended)
