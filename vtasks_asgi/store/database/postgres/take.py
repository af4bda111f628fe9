"""The first step of a claim, from where the last one ended or from the beginning."""

from functools import partial

from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.store.base import Claimed
from vtasks_asgi.store.database.postgres.claim import Left, claim, claim_onwards
from vtasks_asgi.store.database.postgres.front import Front, in_order
from vtasks_asgi.store.database.postgres.runner import Runner

_NOTHING = Left((), lined=False, promoted=False)


async def take(
    runner: Runner, front: Front, queue: str, limit: int, *, worker: str, lease: float
) -> tuple[Claimed, Left]:
    """Go on where the last claim ended; what that leaves wanting is taken from the beginning."""
    look, found = front.begin(), Claimed([])
    if look.place is not None:
        found = await runner.run(
            partial(claim_onwards, queue, limit, look.place, worker=worker, lease=lease)
        )
        front.end(look, found.claims, limit)
        if found.claims and len(found.claims) >= limit:
            return found, _NOTHING
        look = front.begin()
    missing = limit - len(found.claims)
    try:
        claimed, left = await runner.run(partial(claim, queue, missing, worker=worker, lease=lease))
    except StoreError:
        if not found.claims:
            raise
        return Claimed(found.claims, 0.0), _NOTHING
    if left:
        front.forget()
    front.end(look, claimed.claims, missing)
    if not found.claims:
        return claimed, left
    if left.lined:  # lines are claimed from by themselves, the next time
        return Claimed(found.claims, 0.0), _NOTHING
    claims = sorted([*found.claims, *claimed.claims], key=in_order)
    return Claimed(claims, claimed.next_due), left
