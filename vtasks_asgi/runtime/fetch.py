"""Claims exactly as many messages as there are free slots, and starts them.

Invariant: a claim the store has granted is either started or released, also when the fetcher is
cancelled in the middle; otherwise it would lie idle until its lease runs out.
"""

import asyncio
from collections.abc import Sequence
from itertools import chain

from vtasks_asgi.core.clock import Clock
from vtasks_asgi.runtime.config import RuntimeConfig
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.execute import Executions
from vtasks_asgi.runtime.pauses import Pauses
from vtasks_asgi.runtime.settle import Settler
from vtasks_asgi.runtime.slots import Slots
from vtasks_asgi.runtime.suspects import SUSPECTED_AFTER, Suspects
from vtasks_asgi.runtime.traffic import POLITE_BATCH, POLITE_PAUSE, Traffic
from vtasks_asgi.store.base import Claim, Claimed, Store

#: Seconds of starting tasks before the loop gets a turn: requests come first.
TIME_SLICE = 0.001


class Fetcher:
    """One pool of queues sharing slots."""

    def __init__(
        self,
        store: Store,
        queues: Sequence[str],
        slots: Slots,
        executions: Executions,
        settler: Settler,
        suspects: Suspects,
        *,
        pauses: Pauses,
        config: RuntimeConfig,
        events: Events,
        clock: Clock,
        traffic: Traffic | None = None,
    ) -> None:
        self._store = store
        self.queues = list(queues)
        self.slots = slots
        self._executions = executions
        self._settler = settler
        self._suspects = suspects
        self._pauses = pauses
        self._config = config
        self._events = events
        self._clock = clock
        self._traffic = traffic or Traffic(clock)
        self.last_round: dict[str, float] = {}

    async def run(self) -> None:
        await self._pauses.wait_known()
        while True:
            await self.slots.wait_free()
            await self._settler.wait_room()
            await self._suspects.wait_clear()
            found, next_due = await self._round()
            if not found:
                timeout = self._config.poll
                if next_due is not None:
                    timeout = min(timeout, next_due)
                await self._store.wait(self.queues, timeout)
            elif self._traffic.flows:
                await asyncio.sleep(POLITE_PAUSE)

    async def _round(self) -> tuple[int, float | None]:
        """Ask each queue once, the first one next time last; how many, and when more is due."""
        found, next_due = 0, None
        self.queues.append(self.queues.pop(0))
        for queue in self.queues:
            if self.slots.free < 1:
                break
            claimed = await self._claim(queue)
            self.last_round[queue] = self._clock.monotonic()
            self._events.claimed(queue, claimed.claims)
            found += len(claimed.claims)
            if claimed.next_due is not None:
                due = claimed.next_due
                next_due = due if next_due is None else min(due, next_due)
            await self._start(self._pauses.sift(claimed.claims))
        return found, next_due

    async def _claim(self, queue: str) -> Claimed:
        config, asked = self._config, self._clock.monotonic()
        limit = min(self.slots.free, POLITE_BATCH) if self._traffic.flows else self.slots.free
        claiming = asyncio.ensure_future(
            self._store.claim(queue, limit, worker=config.worker, lease=config.lease)
        )
        try:
            claimed = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await asyncio.wait({claiming})
            if not claiming.cancelled() and claiming.exception() is None:
                self._executions.release(claiming.result().claims)
            raise
        if self._clock.monotonic() - asked > config.lease / 3:
            # The loop was blocked, nobody renewed these: they may be somebody else's by now.
            self._executions.release(claimed.claims)
            claimed.claims = []
        return claimed

    async def _start(self, claims: Sequence[Claim]) -> None:
        suspected = [claim for claim in claims if claim.crashes >= SUSPECTED_AFTER]
        rest = chain((claim for claim in claims if claim.crashes < SUSPECTED_AFTER), suspected)
        try:
            deadline = self._clock.monotonic() + TIME_SLICE
            for claim in rest:
                if claim.crashes >= SUSPECTED_AFTER:
                    await self._suspects.run(claim, self.slots)
                    continue
                self._executions.start(claim, self.slots)
                if self._clock.monotonic() > deadline:
                    await asyncio.sleep(0)
                    deadline = self._clock.monotonic() + TIME_SLICE
        finally:
            self._executions.release(rest)
