"""Collects the messages of a batch queue until they are enough, and hands them to execution.

Invariant: what was collected is in hand, so its lease is kept, and it is started or released, also
when the collector is cancelled or fails.
"""

import asyncio
import math
import random
from collections.abc import Iterable, Sequence
from functools import partial

from vtasks_asgi.core.batch import Batch
from vtasks_asgi.core.clock import Clock
from vtasks_asgi.core.envelope import task_of
from vtasks_asgi.runtime.claim import Claimer
from vtasks_asgi.runtime.config import RuntimeConfig
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.execute import Executions
from vtasks_asgi.runtime.lone import LoneRuns
from vtasks_asgi.runtime.pauses import Pauses
from vtasks_asgi.runtime.settle import Settler
from vtasks_asgi.runtime.slices import Slices
from vtasks_asgi.runtime.slots import Slots
from vtasks_asgi.runtime.suspects import SUSPECTED_AFTER, Suspects
from vtasks_asgi.store.base import RESOLUTION, Claim, Store

#: While a batch fills up, the share of its timeout between two looks, and seconds at most: a claim
#: for every message that comes in would cost what the batch saves.
LOOK_SHARE, LOOK_PAUSE = 0.1, 0.05
#: Seconds after its timeout at which a batch still below its minimum is given back, so that no two
#: workers wait for each other, each with a part of what they need.
SHARE_AFTER = 5.0
#: Seconds to wait until what has run alone is settled.
SETTLE_TIMEOUT = 1.0


class Collector:
    """One batch queue. A batch takes a slot only when it is executed."""

    def __init__(
        self,
        store: Store,
        queue: str,
        slots: Slots,
        executions: Executions,
        settler: Settler,
        suspects: Suspects,
        *,
        pauses: Pauses,
        config: RuntimeConfig,
        events: Events,
        clock: Clock,
    ) -> None:
        self._store = store
        self.queues = (queue,)
        self._batch = config.batches[queue]
        self.slots = slots
        self._executions = executions
        self._settler = settler
        self._suspects = suspects
        suspects.give_way.append(self._let_go)
        self._poll = config.poll
        self._clock = clock
        self._claimer = Claimer(
            store, executions, pauses, config=config, events=events, clock=clock
        )
        self.last_round = self._claimer.last_round
        self._calming = False
        self._held: list[Claim] = []
        self._since = math.inf  # when the first of this batch was claimed
        self._running: set[asyncio.Task[None]] = set()
        self._lone = LoneRuns(executions, clock)
        #: The last look has found a message whose worker vanished, and that may run now.
        self._wary = False

    @property
    def paused(self) -> bool:
        """Does it keep from claiming, though there may be free slots?"""
        return self._calming or not self._suspects.clear

    async def run(self) -> None:
        try:
            while True:
                await self._settler.wait_room()
                await self.slots.wait_free()
                await self._gather()
                await self._start()
        finally:
            self._let_go()

    async def _gather(self) -> None:
        """Hold a batch, or a single message that has to run alone."""
        if self._wary:
            await self._calm()
        while True:
            next_due = await self._look(self._batch.count - len(self._held))
            if self._wary or self._enough:
                return
            await self._wait(next_due)
            left = [claim for claim in self._held if self._executions.holds(claim)]
            if self._held and not left:
                self._since = math.inf
            self._held = left

    @property
    def _age(self) -> float:
        """Seconds since the first message of this batch was claimed, if any is held."""
        return self._clock.monotonic() - self._since if self._held else 0.0

    @property
    def _enough(self) -> bool:
        batch, held = self._batch, len(self._held)
        return held >= batch.count or (held >= batch.min_count and self._age >= batch.timeout)

    async def _look(self, room: int) -> float | None:
        """Hold what is there for so much room; in how many seconds more will be due.

        A message whose worker vanished may be what killed it. It runs in a call of its own, while
        nothing else of this queue is in hand that would be counted as crashed with it.
        """
        await self._suspects.wait_clear()
        claimed = await self._claimer.claim(self.queues[0], room)
        claims = claimed.claims
        if not self._suspects.clear:
            self._executions.release(claims)
            return claimed.next_due
        suspects = [claim for claim in claims if claim.crashes]
        others = [claim for claim in claims if not claim.crashes]
        self._wary = bool(suspects) and self._lone.due
        if self._wary:
            self._let_go()
            self._executions.release(others)
            self._hold_alone(suspects)
        else:
            self._lone.put_off(suspects)
            self._hold(others)
        return claimed.next_due

    def _hold(self, claims: Sequence[Claim]) -> None:
        if claims:
            self._since = min(self._since, self._clock.monotonic())
        self._executions.keep(claims)
        self._held += claims

    def _hold_alone(self, suspects: Sequence[Claim]) -> None:
        """The first of them, unless batches run: then once these have ended."""
        if self._running:
            self._executions.release(suspects)
            return
        self._lone.put_off(suspects[1:], first=1)
        self._lone.begin()
        self._executions.keep(suspects[:1])
        self._held = [suspects[0]]

    async def _wait(self, next_due: float | None) -> None:
        """Until it is worth looking again."""
        left = self._batch.timeout - self._age if self._held else math.inf
        if left <= 0:  # too few, even now
            left += SHARE_AFTER
        if left <= 0:
            self._let_go()
            self._since = math.inf
            await asyncio.sleep(random.random() * self._poll)
            return
        if self._held:
            pause = max(min(LOOK_PAUSE, LOOK_SHARE * self._batch.timeout, left), RESOLUTION)
            await asyncio.sleep(pause)
            left = max(left - pause, 0.0)
        due = math.inf if next_due is None else next_due
        await self._store.wait(self.queues, min(self._poll, left, due))

    def _let_go(self) -> None:
        self._executions.let_go(self._held)
        self._held = []

    async def _calm(self) -> None:
        """Until nothing of this queue is in hand any more."""
        self._calming = True
        try:
            if self._running:
                await asyncio.wait(self._running)
            await self._settler.flush(SETTLE_TIMEOUT)
        finally:
            self._calming = False
        self._lone.end()

    async def _start(self) -> None:
        for group in await groups(self._batch, self._held):
            if group[0].crashes >= SUSPECTED_AFTER:
                self._held = []  # or it would be let go of as well
                await self._suspects.alone(partial(self._begin, group), lambda: not self._running)
            else:
                await self._suspects.wait_clear()
                await self.slots.wait_free()
                self._begin(group)
        self._held = []
        if not self._wary:
            self._since = math.inf

    def _begin(self, group: list[Claim]) -> None:
        if task := self._executions.begin_batch(self._batch, group, self.slots):
            self._running.add(task)
            task.add_done_callback(self._running.discard)


async def groups(batch: Batch, claims: Iterable[Claim]) -> list[list[Claim]]:
    """The calls that run these: one a task, and one for each whose worker has vanished before."""
    calls: dict[str | tuple[str], list[Claim]] = {}
    slices = Slices()
    for claim in claims:
        key = (claim.id,) if claim.crashes else batch.task or task_of(claim.body)
        calls.setdefault(key, []).append(claim)
        await slices.rest()
    return list(calls.values())
