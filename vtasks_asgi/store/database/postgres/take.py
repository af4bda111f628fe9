"""The first step of a claim, from where the last one ended or from the beginning."""

from functools import partial

from vtasks_asgi.store.base import Claimed
from vtasks_asgi.store.database.postgres.claim import Left, claim
from vtasks_asgi.store.database.postgres.front import Front
from vtasks_asgi.store.database.postgres.runner import Runner


async def take(
    runner: Runner, front: Front, queue: str, limit: int, *, worker: str, lease: float
) -> tuple[Claimed, Left]:
    """Once, or twice if there was nothing and the beginning was left out. See ``front``."""
    while True:
        look = front.begin()
        claimed, left = await runner.run(
            partial(claim, queue, limit, after=look.place, worker=worker, lease=lease)
        )
        if left:
            front.forget()
        front.end(look, claimed.claims, limit)
        if claimed.claims or left or look.is_whole:
            return claimed, left
