"""Whether what was done inside a transaction still counts, for what cannot join the transaction.

Django tells nobody of a rollback, but it drops the commit hooks of what is rolled back. So a hook
that is neither waiting nor has been called says it all; also inside a ``TestCase``, whose own
transaction never commits, and for a savepoint.
"""

from collections.abc import Iterable

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper


class Fate:
    """A commit hook that remembers; see ``fate_in``. One serves all that one savepoint holds."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.savepoints = list(connection.savepoint_ids)
        self.kept = False

    def __call__(self) -> None:
        """Called by Django when the transaction commits, and by tests that only pretend to."""
        self.kept = not self.connection.in_atomic_block


def fate_in(database: str, known: Iterable[Fate] = ()) -> Fate | None:
    """The fate of what is done now, in this thread, on that database; None: nothing can undo it.

    One of the ``known`` is given back if it is the same.
    """
    connection = connections[database]
    if not connection.in_atomic_block:
        return None
    waiting = _waiting(connection)
    for fate in known:
        same = fate.connection is connection and fate.savepoints == connection.savepoint_ids
        if same and id(fate) in waiting:
            return fate
    fate = Fate(connection)
    transaction.on_commit(fate, using=database)
    return fate


def decided(fates: Iterable[Fate]) -> dict[Fate, bool]:
    """Those that are decided by now: True was committed, False rolled back."""
    known: dict[Fate, bool] = {}
    waiting: dict[BaseDatabaseWrapper, set[int]] = {}
    for fate in fates:
        connection = fate.connection
        if fate.kept:
            known[fate] = True
            continue
        if connection not in waiting:
            waiting[connection] = _waiting(connection)
        # While hooks are being called they have left the list, whether or not their turn has come.
        if id(fate) not in waiting[connection]:
            if not connection.run_commit_hooks_on_set_autocommit_on:
                known[fate] = False
    return known


def _waiting(connection: BaseDatabaseWrapper) -> set[int]:
    return {id(hook) for _, hook, *_ in connection.run_on_commit}
