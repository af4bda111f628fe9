"""Claiming, for whoever consumes a queue.

Invariant: a claim the store has granted is handed out or released, also when the claimer is
cancelled in the middle; otherwise it would lie idle until its lease runs out.
"""

import asyncio

from vtasks_asgi.core.clock import Clock
from vtasks_asgi.runtime.config import RuntimeConfig
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.execute import Executions
from vtasks_asgi.runtime.pauses import Pauses
from vtasks_asgi.store.base import Claimed, Store


class Claimer:
    """``last_round`` is when each queue was last asked, in monotonic seconds."""

    def __init__(
        self,
        store: Store,
        executions: Executions,
        pauses: Pauses,
        *,
        config: RuntimeConfig,
        events: Events,
        clock: Clock,
    ) -> None:
        self._store = store
        self._executions = executions
        self._pauses = pauses
        self._config = config
        self._events = events
        self._clock = clock
        self.last_round: dict[str, float] = {}

    async def claim(self, queue: str, limit: int) -> Claimed:
        """Up to ``limit`` messages, which the caller must start, hold or release at once.

        Those of paused tasks are given back instead. There may be others behind them, so what comes
        next counts as due.
        """
        await self._pauses.wait_known()
        config, asked = self._config, self._clock.monotonic()
        claiming = asyncio.Task(
            self._store.claim(queue, limit, worker=config.worker, lease=config.lease),
            loop=asyncio.get_running_loop(),
            eager_start=True,
        )
        try:
            claimed = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await asyncio.wait({claiming})
            if not claiming.cancelled() and claiming.exception() is None:
                self._executions.release(claiming.result().claims)
            raise
        now = self._clock.monotonic()
        if now - asked > config.stale_after:
            # The loop was blocked, nobody renewed these: they may be somebody else's by now.
            self._executions.release(claimed.claims)
            claimed.claims = []
        self.last_round[queue] = now
        self._events.claimed(queue, claimed.claims)
        kept = self._pauses.sift(claimed.claims)
        return claimed if len(kept) == len(claimed.claims) else Claimed(kept, 0.0)
