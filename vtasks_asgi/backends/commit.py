"""Work that waits for the caller's transaction, for stores that cannot be part of it."""

from collections.abc import Callable, Sequence
from functools import partial

from django.db import connections, transaction


def open_transactions() -> list[str]:
    """The aliases of the calling thread's connections that are inside ``atomic``."""
    return [each.alias for each in connections.all(initialized_only=True) if each.in_atomic_block]


def after_commit(aliases: Sequence[str], work: Callable[[], object]) -> None:
    """Call ``work`` when the last of these has committed; never when one is rolled back.

    A savepoint counts as Django's ``on_commit`` has it. What ``work`` raises surfaces where the
    last transaction ends, after its commit.
    """
    waiting = set(aliases)

    def committed(alias: str) -> None:
        waiting.discard(alias)
        if not waiting:
            work()

    for alias in aliases:
        transaction.on_commit(partial(committed, alias), using=alias)
