"""Paused tasks: their messages are given back, for stores know queues and no tasks.

Looked up every second; while none is paused, a claim costs a test of an empty set.
"""

import asyncio
from collections import Counter

from vtasks_asgi.core.clock import Clock
from vtasks_asgi.core.envelope import task_of
from vtasks_asgi.core.outcome import Release
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.settle import Settler
from vtasks_asgi.store.base import Claim, FullStore, Settlement

#: Seconds between two looks.
LOOK_EVERY = 0.75
#: Seconds after which a message given back is due again, at the least and at the most.
SHORTEST, LONGEST = 2.0, 60.0
#: So many a second may come back: a long backlog of a paused task must not keep everybody busy.
RATE = 500.0


class Pauses:
    """``run`` it as a service; ``sift`` what was claimed."""

    def __init__(self, store: FullStore, settler: Settler, *, events: Events, clock: Clock) -> None:
        self._store = store
        self._settler = settler
        self._events = events
        self._clock = clock
        self._tasks: set[str] = set()
        self._known = asyncio.Event()
        self._next = float("-inf")

    async def run(self) -> None:
        while True:
            self._note(await self._store.paused_tasks())
            self._known.set()
            await asyncio.sleep(LOOK_EVERY)

    async def wait_known(self) -> None:
        """Return when the first look is over: what was paused before must not begin."""
        await self._known.wait()

    def sift(self, claims: list[Claim]) -> list[Claim]:
        """Those that may begin; the others are given back, without using an attempt."""
        if not self._tasks:
            return claims
        kept: list[Claim] = []
        given_back: Counter[tuple[str, str]] = Counter()
        for claim in claims:
            task = task_of(claim.body)
            if task in self._tasks:
                self._settler.put(Settlement(claim, Release(self._delay())))
                given_back[task, claim.queue] += 1
            else:
                kept.append(claim)
        for (task, queue), count in given_back.items():
            self._events.given_back(task, queue, count)
        return kept

    def _note(self, tasks: set[str]) -> None:
        before, self._tasks = self._tasks, tasks
        for task in sorted(tasks ^ before):
            self._events.task_paused(task, task in tasks)

    def _delay(self) -> float:
        now = self._clock.monotonic()
        self._next = max(self._next + 1 / RATE, now + SHORTEST)
        return min(self._next - now, LONGEST)
