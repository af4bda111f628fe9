"""Writes outcomes back in batches, until the store has acknowledged each.

Invariant: a settlement leaves ``pending`` only when the store has answered for it, so an outage
delays outcomes and never changes them; the token makes a repeated settlement harmless.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from vtasks_asgi.core.envelope import task_of
from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.core.outcome import CANCELLED, Dead
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.follow import Followers
from vtasks_asgi.store.base import Claim, Settled, Settlement, Store

if TYPE_CHECKING:
    from collections.abc import Callable

#: Settlements in one call of the store.
BATCH = 500
#: With more than this pending the store is behind, and fetching pauses.
CONGESTED = 2000


class Settler:
    """``put`` outcomes, run ``run`` as a service, ``flush`` before leaving."""

    def __init__(self, store: Store, events: Events, followers: Followers | None = None) -> None:
        self._store = store
        self._events = events
        self._followers = followers
        #: Called for each claim the store has answered for.
        self.settled: Callable[[Claim], None] = _nobody
        self._pending: deque[Settlement] = deque()
        self._work = asyncio.Event()
        self._quiet = asyncio.Event()
        self._room = asyncio.Event()
        self._quiet.set()
        self._room.set()

    @property
    def pending(self) -> int:
        return len(self._pending)

    def put(self, settlement: Settlement) -> None:
        self._pending.append(settlement)
        self._work.set()
        self._quiet.clear()
        if len(self._pending) > CONGESTED:
            self._room.clear()

    @property
    def has_room(self) -> bool:
        """Does the store keep up?"""
        return self._room.is_set()

    async def wait_room(self) -> None:
        """Return when the store keeps up."""
        await self._room.wait()

    async def flush(self, timeout: float) -> bool:
        """Wait until nothing is pending, at most ``timeout`` seconds; did it empty?"""
        try:
            async with asyncio.timeout(timeout):
                await self._quiet.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        while True:
            await self._work.wait()
            batch = [self._pending[i] for i in range(min(BATCH, len(self._pending)))]
            if following := [each for each in batch if each.outcome.follow is not None]:
                batch = await self._follow(batch, following)
            settled = await self._store.settle(batch)
            for _ in batch:
                self.settled(self._pending.popleft().claim)
            self._tell(settled)
            if self._followers is not None and (settled.cancelled or self._followers.owing):
                await self._followers.after(settled.cancelled)
            if len(self._pending) <= CONGESTED:
                self._room.set()
            if not self._pending:
                self._work.clear()
                self._quiet.set()

    async def _follow(
        self, batch: list[Settlement], following: list[Settlement]
    ) -> list[Settlement]:
        """Let be stored what follows some of these; gives those that may be settled now.

        A store that is full takes nothing in, but the others must be settled all the same: those
        that have to wait go to the end.
        """
        if self._followers is None:
            return batch
        try:
            await self._followers.before(following)
        except StoreError:
            others = [each for each in batch if each.outcome.follow is None]
            for _ in batch:
                self._pending.popleft()
            self._pending.extendleft(reversed(others))
            self._pending.extend(following)
            if not others:
                raise
            return others
        return batch

    def _tell(self, settled: Settled) -> None:
        if settled.lost:
            self._events.stale(settled.lost)
        for claim in settled.cancelled:
            dead = Dead(claim.history or b"", CANCELLED)
            self._events.given_up(claim, task_of(claim.body), dead)
        for queue, count in settled.evicted.items():
            self._events.evicted(queue, count)


def _nobody(claim: Claim) -> None:
    """Until somebody wants to know."""
