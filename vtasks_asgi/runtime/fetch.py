"""Claims exactly as many messages as there are free slots, and starts them."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
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
from vtasks_asgi.store.base import Claim, Claimed, Store

#: Pools of so many slots claim by halves, so that one claim is under way while another is started.
AHEAD_FROM = 16


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
        self._stale_after = config.stale_after
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

    async def _round(self) -> tuple[bool, float]:
        """Ask each queue, the first one next time last; was there anything, and when is more due?

        That is a moment, not a time from now: asking the other queues takes a while too.
        """
        found, due_at = False, math.inf
        self.queues.append(self.queues.pop(0))
        for queue in self.queues:
            if self._limit < 1:
                break
            claimed = await self._turn(queue)
            found = found or bool(claimed.claims)
            if claimed.next_due is not None:
                due_at = min(due_at, self.last_round[queue] + claimed.next_due)
        return found, due_at

    @property
    def _limit(self) -> int:
        """How many to claim at once."""
        size = self.slots.size
        limit = min(self.slots.free, size if size < AHEAD_FROM else (size + 1) // 2)
        return min(limit, POLITE_BATCH) if self._traffic.flows else limit

    async def _turn(self, queue: str) -> Claimed:
        """Claim from a queue and start what there was; the last answer.

        While there is a backlog the next claim is under way when a batch is started: as long as
        that lasts if this is the only queue, once if others wait for their turn.
        """
        left = math.inf if len(self.queues) == 1 else 1
        air = [self._ask(queue)]
        try:
            while True:
                claimed = await air[0].answer
                now = air.pop()
                try:
                    if left and self._is_worth_more(claimed.claims, now):
                        air.append(self._ask(queue))
                        left -= 1
                    await self._start(claimed.claims, now.at + self._stale_after)
                finally:
                    self.slots.redeem(now.limit)
                if not air:
                    return claimed
        finally:
            for asked in air:
                await self._take_back(asked)

    def _ask(self, queue: str) -> "_Asked":
        at, limit, loop = self._clock.monotonic(), self._limit, asyncio.get_running_loop()
        self.slots.promise(limit)
        # Eager: on its way when this returns, not when the loop has its next turn.
        answer = asyncio.Task(self._claimer.claim(queue, limit), loop=loop, eager_start=True)
        return _Asked(answer, limit, at)

    def _is_worth_more(self, claims: Sequence[Claim], asked: "_Asked") -> bool:
        """Is there a backlog, and may it be asked for before these are started?"""
        return (
            len(claims) == asked.limit
            and self._limit > 0
            and self._settler.has_room
            and self._suspects.clear
            and not self.slots.wanted
            and not self._traffic.flows
            and not any(claim.crashes >= SUSPECTED_AFTER for claim in claims)
        )

    async def _take_back(self, asked: "_Asked") -> None:
        """Nobody will start what this claim brings."""
        asked.answer.cancel()
        await asyncio.wait({asked.answer})
        self.slots.redeem(asked.limit)
        if not asked.answer.cancelled() and asked.answer.exception() is None:
            self._executions.release(asked.answer.result().claims)

    async def _start(self, claims: Sequence[Claim], stale_at: float) -> None:
        """Start these, as long as they are ours for certain: nobody renews them before."""
        suspected = [claim for claim in claims if claim.crashes >= SUSPECTED_AFTER]
        # All suspects but one go back: what is in hand beside it would be charged with its crash.
        self._executions.release(suspected[1:])
        rest = chain((claim for claim in claims if claim.crashes < SUSPECTED_AFTER), suspected[:1])
        try:
            slices = Slices(self._clock)
            if self._clock.monotonic() > stale_at:
                return
            for claim in rest:
                if claim.crashes >= SUSPECTED_AFTER:
                    await self._suspects.run(claim, self.slots)
                    continue
                self._executions.start(claim, self.slots)
                if slices.spent:
                    await slices.rest()
                    if self._clock.monotonic() > stale_at:
                        return
        finally:
            self._executions.release(rest)


@dataclass(slots=True)
class _Asked:
    """A claim under way, for ``limit`` messages since ``at``, monotonic."""

    answer: "asyncio.Task[Claimed]"
    limit: int
    at: float
