"""The second step of a claim: what has limits. It needs a transaction, which few claims need."""

from collections.abc import Sequence
from functools import partial

from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.store.base import Claimed
from vtasks_asgi.store.database.postgres import claim
from vtasks_asgi.store.database.postgres.runner import Runner


async def admit(
    runner: Runner, queue: str, limited: Sequence[int], first: Claimed, *, worker: str, lease: float
) -> Claimed:
    """Both steps as one answer. What the first one took is handed out also if this one fails."""
    make = partial(claim.admit, queue, limited, first, worker=worker, lease=lease)
    try:
        return await runner.run(make, transaction=True)
    except StoreError:
        if not first.claims:
            raise
        return Claimed(first.claims, 0.0)
