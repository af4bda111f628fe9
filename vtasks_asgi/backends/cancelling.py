"""Cancelling a task by the id of its result: ``cancel`` and ``acancel`` of every backend."""

from typing import TYPE_CHECKING

from vtasks_asgi import lanes
from vtasks_asgi.backends import commit
from vtasks_asgi.backends.awaited import store_here
from vtasks_asgi.runtime.events import hub
from vtasks_asgi.store.control import Cancel, Cancellation

if TYPE_CHECKING:
    from vtasks_asgi.store.base import FullStore


class Cancelling:
    """What it asks of a backend is below."""

    alias: str

    @property
    def store(self) -> "FullStore":
        """The store of this moment."""
        raise NotImplementedError

    def cancel(self, result_id: str) -> Cancel | None:
        """Let a task not run, or not run again.

        One that waits ends at once: its result is FAILED, with ``TaskCancelled`` among the errors.
        A coroutine that runs is cancelled within two seconds or so; what runs in a thread sees
        ``context.cancelled`` turn True and goes on as it likes.

        Returns:
            what it met; ``CANCELLED`` and ``ASKED`` are true, ``FINISHED`` and ``UNKNOWN`` are not.
            None inside a transaction: it happens when that commits, and not if it is rolled back.

        Raises:
            StoreUnavailable: the store did not take it; inside a transaction, where that ends.
        """
        store, aliases = self.store, commit.open_transactions()
        if not aliases:
            return _told(result_id, store.cancel_sync([result_id]))
        # Joining the transaction would keep the task's worker waiting until it ends.
        commit.after_commit(aliases, lambda: _told(result_id, store.cancel_sync([result_id])))
        return None

    async def acancel(self, result_id: str) -> Cancel | None:
        """``cancel`` from a coroutine."""
        if (store := store_here(self.alias)) is not None:
            return _told(result_id, await store.cancel([result_id]))
        return await lanes.in_caller_thread(lambda: self.cancel(result_id))


def _told(result_id: str, cancellation: Cancellation) -> Cancel:
    hub.cancel_asked(cancellation)
    return cancellation.outcomes[result_id]


__all__ = ["Cancel", "Cancelling"]
