"""Claims as many messages as there are free slots, or are about to be, and starts them."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from vtasks_asgi.core.clock import Clock
from vtasks_asgi.runtime.claim import Claimer
from vtasks_asgi.runtime.config import RuntimeConfig
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.execute import Executions
from vtasks_asgi.runtime.pauses import Pauses
from vtasks_asgi.runtime.ready import Ready
from vtasks_asgi.runtime.settle import Settler
from vtasks_asgi.runtime.slices import Slices
from vtasks_asgi.runtime.slots import Slots
from vtasks_asgi.runtime.suspects import SUSPECTED_AFTER, Suspects
from vtasks_asgi.runtime.traffic import POLITE_BATCH, POLITE_PAUSE, Traffic
from vtasks_asgi.store.base import Claim, Claimed, Store

#: Pools of so many slots claim by halves, so that one claim is under way while another is started.
AHEAD_FROM = 16
#: The share of such a pool's slots for which messages are kept ready, at the most.
READY_SHARE = 0.25


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
        most = int(slots.size * READY_SHARE) if slots.size >= AHEAD_FROM else 0
        self._ready = Ready(slots, executions, settler, suspects, clock, most)
        self._claimer = Claimer(
            store, executions, pauses, config=config, events=events, clock=clock
        )
        self.last_round = self._claimer.last_round

    @property
    def paused(self) -> bool:
        """Does it keep from claiming, though there may be free slots?"""
        return not self._suspects.clear

    async def run(self) -> None:
        try:
            await self._run()
        finally:
            self._ready.let_go()

    async def _run(self) -> None:
        while True:
            await self._settler.wait_room()
            await self._suspects.wait_clear()
            await self.slots.wait_free()
            self._ready.start()
            if self._limit < 1:
                continue
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
        size, free = self.slots.size, self.slots.free
        if self._traffic.flows:
            return min(free, POLITE_BATCH)
        return min(free + self._ready.room, size if size < AHEAD_FROM else (size + 1) // 2)

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
                self._ready.expect(self._clock.monotonic() - now.at)
                sorted_ = self._sort(claimed.claims, now)
                try:
                    if left and self._is_worth_more(claimed.claims, now):
                        air.append(self._ask(queue))
                        left -= 1
                    await self._start(sorted_, now.stale_at)
                finally:
                    self.slots.redeem(now.promised)
                    self._ready.start()
                if not air:
                    return claimed
        finally:
            for asked in air:
                await self._take_back(asked)

    def _ask(self, queue: str) -> "_Asked":
        at, limit, loop = self._clock.monotonic(), self._limit, asyncio.get_running_loop()
        promised = max(min(limit, self.slots.free), 0)
        self.slots.promise(promised)
        # Eager: on its way when this returns, not when the loop has its next turn.
        answer = asyncio.Task(self._claimer.claim(queue, limit), loop=loop, eager_start=True)
        return _Asked(answer, limit, promised, at, at + self._stale_after)

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
        self.slots.redeem(asked.promised)
        if not asked.answer.cancelled() and asked.answer.exception() is None:
            self._executions.release(asked.answer.result().claims)

    def _sort(self, claims: Sequence[Claim], asked: "_Asked") -> list[Claim]:
        """Those to start now, a suspect last; what no slot was free for is kept ready."""
        suspected = [claim for claim in claims if claim.crashes >= SUSPECTED_AFTER]
        others = [claim for claim in claims if claim.crashes < SUSPECTED_AFTER]
        # All suspects but one go back: what is in hand beside it would be charged with its crash.
        self._executions.release(suspected[1:])
        self._ready.add(others[asked.promised :], asked.stale_at)
        return others[: asked.promised] + suspected[:1]

    async def _start(self, claims: Sequence[Claim], stale_at: float) -> None:
        """Start these, as long as they are ours for certain: nobody renews them before."""
        rest = iter(claims)
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
    """A claim under way, for ``limit`` messages since ``at``, with so many slots ``promised``.

    What it brings is ours for certain until ``stale_at``. Both are monotonic.
    """

    answer: "asyncio.Task[Claimed]"
    limit: int
    promised: int
    at: float
    stale_at: float
