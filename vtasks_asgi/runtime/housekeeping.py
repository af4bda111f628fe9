"""The slow chores: looking at the queues for metrics and health, and pruning old results."""

import asyncio

from vtasks_asgi.core.clock import Clock
from vtasks_asgi.runtime.config import RuntimeConfig
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.store.base import FullStore, QueueStats

#: Results deleted in one step; small, so that no other write waits long.
PRUNE_CHUNK = 500
#: Seconds between two steps while there is more to delete.
PRUNE_PAUSE = 0.01


class Housekeeper:
    """``stats`` is the last look at the queues."""

    def __init__(
        self, store: FullStore, *, config: RuntimeConfig, events: Events, clock: Clock
    ) -> None:
        self._store = store
        self._config = config
        self._events = events
        self._clock = clock
        self.stats: dict[str, QueueStats] = {}

    async def sample(self) -> None:
        while True:
            began = self._clock.monotonic()
            before, self.stats = self.stats, await self._store.stats(self._config.queues)
            self._events.sampled(self.stats)
            for queue, seen in self.stats.items():
                if seen.paused is not (queue in before and before[queue].paused):
                    self._events.queue_paused(queue, seen.paused)
            # Counting a huge backlog takes a while: never spend more than 5 % of the time on it.
            took = self._clock.monotonic() - began
            await asyncio.sleep(max(self._config.sample_every, took * 20))

    async def prune(self) -> None:
        while True:
            full = await self._store.prune(PRUNE_CHUNK) == PRUNE_CHUNK
            await asyncio.sleep(PRUNE_PAUSE if full else self._config.prune_every)
