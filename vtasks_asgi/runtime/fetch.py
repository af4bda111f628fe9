"""Claims exactly as many messages as there are free slots, and starts them."""

import asyncio
import math
from collections.abc import Sequence
from itertools import chain

from vtasks_asgi.core.clock import Clock
from vtasks_asgi.runtime.claim import Claimer
from vtasks_asgi.runtime.config import RuntimeConfig
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.execute import Executions
from vtasks_asgi.runtime.pauses import Pauses
from vtasks_asgi.runtime.settle import Settler
from vtasks_asgi.runtime.slices import Slices
from vtasks_asgi.runtime.slots import Slots
from vtasks_asgi.runtime.suspects import SUSPECTED_AFTER, Suspects
from vtasks_asgi.runtime.traffic import POLITE_BATCH, POLITE_PAUSE, Traffic
from vtasks_asgi.store.base import Claim, Store


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
        self._poll = config.poll
        self._clock = clock
        self._traffic = traffic or Traffic(clock)
        self._claimer = Claimer(
            store, executions, pauses, config=config, events=events, clock=clock
        )
        self.last_round = self._claimer.last_round

    @property
    def paused(self) -> bool:
        """Does it keep from claiming, though there may be free slots?"""
        return not self._suspects.clear

    async def run(self) -> None:
        while True:
            await self._settler.wait_room()
            await self._suspects.wait_clear()
            await self.slots.wait_free()
            found, due_at = await self._round()
            if not found:
                timeout = max(0.0, min(self._poll, due_at - self._clock.monotonic()))
                await self._store.wait(self.queues, timeout)
            elif self._traffic.flows:
                await asyncio.sleep(POLITE_PAUSE)

    async def _round(self) -> tuple[int, float]:
        """Ask each queue once, the first one next time last; how many, and when more is due.

        That is a moment, not a time from now: asking the other queues takes a while too.
        """
        found, due_at = 0, math.inf
        self.queues.append(self.queues.pop(0))
        for queue in self.queues:
            if (limit := self.slots.free) < 1:
                break
            if self._traffic.flows:
                limit = min(limit, POLITE_BATCH)
            try:
                self.slots.promise(limit)
                claimed = await self._claimer.claim(queue, limit)
                await self._start(claimed.claims)
            finally:
                self.slots.promise(0)
            found += len(claimed.claims)
            if claimed.next_due is not None:
                due_at = min(due_at, self.last_round[queue] + claimed.next_due)
        return found, due_at

    async def _start(self, claims: Sequence[Claim]) -> None:
        suspected = [claim for claim in claims if claim.crashes >= SUSPECTED_AFTER]
        rest = chain((claim for claim in claims if claim.crashes < SUSPECTED_AFTER), suspected)
        try:
            slices = Slices(self._clock)
            for claim in rest:
                if claim.crashes >= SUSPECTED_AFTER:
                    await self._suspects.run(claim, self.slots)
                    continue
                self._executions.start(claim, self.slots)
                if slices.spent:
                    await slices.rest()
        finally:
            self._executions.release(rest)
