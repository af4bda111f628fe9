"""Everything alive in one event loop, as nested scopes: indentation is the order of shutdown."""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Protocol, TypedDict

from vtasks_asgi.core.clock import Clock, SystemClock
from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.core.outcome import Outcome
from vtasks_asgi.runtime.active import current
from vtasks_asgi.runtime.collect import Collector
from vtasks_asgi.runtime.config import RuntimeConfig
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.execute import Executions, Invoke
from vtasks_asgi.runtime.fetch import Fetcher
from vtasks_asgi.runtime.follow import Announce, Followers
from vtasks_asgi.runtime.health import Health
from vtasks_asgi.runtime.housekeeping import Housekeeper
from vtasks_asgi.runtime.leases import Leases
from vtasks_asgi.runtime.monitor import Monitor
from vtasks_asgi.runtime.pauses import Pauses
from vtasks_asgi.runtime.reclaim import Reclaimer
from vtasks_asgi.runtime.settle import Settler
from vtasks_asgi.runtime.settled import Settled
from vtasks_asgi.runtime.slots import Slots
from vtasks_asgi.runtime.supervise import Service, backoff, services
from vtasks_asgi.runtime.suspects import Suspects
from vtasks_asgi.runtime.sweep import Sweeper
from vtasks_asgi.runtime.traffic import Traffic
from vtasks_asgi.store.base import Claim, FullStore

logger = logging.getLogger("vtasks_asgi")

#: Seconds for the last settlements after the drain.
FLUSH_TIMEOUT = 1.0


class Scheduler(Protocol):
    """What the runtime asks of cron."""

    @property
    def last_ticks(self) -> Mapping[str, float]:
        """The last tick of each schedule, epoch seconds."""
        ...

    @property
    def failing(self) -> Collection[str]:
        """Schedules whose message could not be made."""
        ...

    async def run(self) -> None:
        """Fire until cancelled."""


class Runtime:
    """Worker, scheduler and chores over one store.

    ``run`` lives until ``close``; ``stop`` begins the drain. Both may be called from any thread or
    signal handler, in any order, more than once, and before ``run``.

    Args:
        alias: the backend whose messages these are.
        store: opened and closed by ``run``, and tried again for as long as it is unavailable.
        invoke: turns a claim into an outcome.
        rescue: the outcome of a claim whose worker vanished.
        cron: the scheduler, or None for none.
        announce: awaited with each message that is stored because others have ended.
    """

    def __init__(
        self,
        alias: str,
        store: FullStore,
        invoke: Invoke,
        rescue: Callable[[Claim], Outcome],
        config: RuntimeConfig,
        *,
        events: Events,
        cron: Scheduler | None = None,
        clock: Clock | None = None,
        announce: Announce | None = None,
    ) -> None:
        self.alias = alias
        self.store = store
        self.config = config
        self._invoke = invoke
        self._rescue = rescue
        self._cron = cron
        self._events = events
        self._clock = clock or SystemClock()
        self._followers = Followers(store, self._clock.now, announce)
        #: The web server's side notes its requests here.
        self.traffic = Traffic(self._clock)
        #: Who waits here for which messages to be settled.
        self.settled = Settled()
        #: What is in hand, once the store is open.
        self.executions: Executions | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        # Not threading events: those have a lock, on which a signal handler could wait for itself.
        self._asked_to_stop = False
        self._asked_to_close = False
        self._stopping = asyncio.Event()
        self._closing = asyncio.Event()
        self.is_open = False
        self._monitor = Monitor(config, events, self._clock)

    # -- from outside

    def stop(self) -> None:
        """Claim nothing more; let what runs end within the drain budget."""
        self._asked_to_stop = True
        self._wake()

    def close(self) -> None:
        """Stop, and after the drain let go of the store."""
        self._asked_to_stop = True
        self._asked_to_close = True
        self._wake()

    def _wake(self) -> None:
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._obey)
            except RuntimeError:
                pass  # the loop is closed, so this has ended

    def _obey(self) -> None:
        if self._asked_to_stop:
            self._stopping.set()
        if self._asked_to_close:
            self._closing.set()

    @property
    def stopping(self) -> bool:
        """Was it asked to stop?"""
        return self._asked_to_stop

    def is_mine(self) -> bool:
        """Does the caller run in this runtime's event loop?"""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def health(self) -> Health:
        """What is known now; never asks the store."""
        return self._monitor.health(
            is_open=self.is_open,
            stopping=self._asked_to_stop,
            ticks=dict(self._cron.last_ticks) if self._cron else {},
            cron_ails=bool(self._cron and self._cron.failing),
        )

    # -- the life

    async def run(self) -> None:
        """Live until ``close``. Raises nothing but cancellation and our own bugs."""
        self._loop = asyncio.get_running_loop()
        self._obey()
        try:
            if await self._open():
                await self._work()
                await self._closing.wait()
        finally:
            self.is_open = False
            self._monitor.stopped = True
            self._events.remove(self._monitor)
            self._invoke.close()
            await self.store.aclose()

    async def _open(self) -> bool:
        """Open the store, however long that takes; False when asked to stop before."""
        failures = 0
        while not self._stopping.is_set():
            try:
                await self.store.open()
            except StoreError as error:
                failures += 1
                self._events.service_failed("store", error)
                if failures == 1 or failures % 12 == 0:
                    logger.error("The task store is unavailable, trying again: %s", error)
            else:
                if failures:
                    logger.warning("The task store is available")
                    self._events.service_recovered("store")
                self.is_open = True
                return True
            try:
                async with asyncio.timeout(backoff(failures)):
                    await self._stopping.wait()
            except TimeoutError:
                pass
        return False

    async def _work(self) -> None:
        context = contextvars.copy_context()
        context.run(current.set, self)
        settler = Settler(self.store, self._events, self._followers)
        executions = Executions(self._invoke, settler, self._clock, context)
        self.executions, told = executions, self.settled.told

        def settled(claim: Claim) -> None:
            executions.settled(claim)
            told(claim.id)

        settler.settled = settled
        leases = Leases(
            self.store,
            executions,
            lease=self.config.lease,
            events=self._events,
            clock=self._clock,
        )
        keepers: dict[str, Service] = {"settle": settler.run, "leases": leases.run}
        async with services(keepers, self._events):
            async with services(self._services(settler, executions, leases), self._events):
                await self._stopping.wait()
            late = await executions.drain(self.config.drain_timeout)
            if late:
                logger.warning("Released %d running message(s) at the end of the drain", late)
            if not await settler.flush(FLUSH_TIMEOUT):
                logger.error("%d outcome(s) could not be written", settler.pending)

    def _services(
        self, settler: Settler, executions: Executions, leases: Leases
    ) -> dict[str, Service]:
        pauses = Pauses(self.store, settler, events=self._events, clock=self._clock)
        consumers = self._consumers(settler, executions, pauses)
        reclaimer = Reclaimer(
            self.store, settler, self._rescue, config=self.config, events=self._events
        )
        keeper = Housekeeper(self.store, config=self.config, events=self._events, clock=self._clock)
        self._monitor.watch(list(consumers.values()), leases, keeper)
        running: dict[str, Service] = {name: each.run for name, each in consumers.items()}
        running |= {"reclaim": reclaimer.run, "pauses": pauses.run}
        running |= {"sample": keeper.sample, "prune": keeper.prune}
        running["groups"] = Sweeper(self.store, self._followers).run
        if self._cron is not None:
            running["cron"] = self._cron.run
        return running

    def _consumers(
        self, settler: Settler, executions: Executions, pauses: Pauses
    ) -> dict[str, Fetcher | Collector]:
        """A fetcher for each pool, and a collector for each queue that is run in batches."""
        consumers: dict[str, Fetcher | Collector] = {}
        suspects = Suspects(executions, settler, self._clock)
        means: _Means = {
            "pauses": pauses,
            "config": self.config,
            "events": self._events,
            "clock": self._clock,
        }
        for number, pool in enumerate(self.config.pools):
            slots = Slots(pool.size)
            hands = slots, executions, settler, suspects
            singly = [queue for queue in pool.queues if queue not in self.config.batches]
            if singly:
                fetcher = Fetcher(self.store, singly, *hands, traffic=self.traffic, **means)
                consumers[f"fetch-{number}"] = fetcher
            for queue in pool.queues:
                if queue in self.config.batches:
                    collector = Collector(self.store, queue, *hands, **means)
                    consumers[f"collect-{len(consumers)}"] = collector
        return consumers


class _Means(TypedDict):
    """What every consumer is given."""

    pauses: Pauses
    config: RuntimeConfig
    events: Events
    clock: Clock
