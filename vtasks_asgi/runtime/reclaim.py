"""Takes over what dead workers held. Anyone may, from any host; the lease is the only evidence."""

import asyncio
import random
from collections.abc import Callable, Sequence

from vtasks_asgi.core.outcome import Outcome
from vtasks_asgi.runtime.config import RuntimeConfig
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.settle import Settler
from vtasks_asgi.runtime.supervise import uninterrupted
from vtasks_asgi.store.base import Claim, Settlement, Store

BATCH = 64


class Reclaimer:
    """``rescue`` decides what becomes of a claim whose worker vanished."""

    def __init__(
        self,
        store: Store,
        settler: Settler,
        rescue: Callable[[Claim], Outcome],
        *,
        config: RuntimeConfig,
        events: Events,
    ) -> None:
        self._store = store
        self._settler = settler
        self._rescue = rescue
        self._config = config
        self._events = events

    async def run(self) -> None:
        while True:
            more = False
            for queue in self._config.queues:
                more |= await uninterrupted(self._reclaim(queue)) == BATCH
            # Jitter: processes started together must not look together for ever.
            pause = self._config.reclaim_every * (0.75 + random.random() / 2)
            await asyncio.sleep(0 if more else pause)

    async def _reclaim(self, queue: str) -> int:
        """Never stopped half-way: a claim taken and dropped would count as one more crash."""
        config = self._config
        claims: Sequence[Claim] = await self._store.reclaim(
            queue, BATCH, worker=config.worker, lease=config.lease
        )
        if claims:
            self._events.reclaimed(queue, claims)
            for claim in claims:
                self._settler.put(Settlement(claim, self._rescue(claim)))
        return len(claims)
