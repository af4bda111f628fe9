"""Watches the runtime's parts and answers for all of them: is work being consumed?"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from vtasks_asgi.core.clock import Clock
from vtasks_asgi.runtime.config import RuntimeConfig
from vtasks_asgi.runtime.events import Events, Listener
from vtasks_asgi.runtime.health import Health, QueueHealth, Status
from vtasks_asgi.runtime.housekeeping import Housekeeper
from vtasks_asgi.runtime.leases import Leases
from vtasks_asgi.runtime.slots import Slots

#: A queue whose consumer has free slots, yet completed no claim for so long, is stalled (seconds).
STALLED_AFTER = 15.0


class Consumer(Protocol):
    """Who claims from ``queues``, unless ``paused`` on purpose; the slots are for what runs."""

    @property
    def queues(self) -> Sequence[str]: ...
    @property
    def slots(self) -> Slots: ...
    @property
    def last_round(self) -> Mapping[str, float]: ...
    @property
    def paused(self) -> bool: ...


class Monitor(Listener):
    """Collects what the runtime's parts know, and answers for them."""

    def __init__(self, config: RuntimeConfig, events: Events, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._born = clock.monotonic()
        self._failing: set[str] = set()
        self._consumers: Sequence[Consumer] = ()
        self._leases: Leases | None = None
        self._keeper: Housekeeper | None = None
        self.stopped = False
        events.add(self)

    def watch(self, consumers: Sequence[Consumer], leases: Leases, keeper: Housekeeper) -> None:
        """These are the parts, now that they exist."""
        self._born = self._clock.monotonic()
        self._consumers, self._leases, self._keeper = consumers, leases, keeper

    def service_failed(self, service: str, error: BaseException) -> None:
        self._failing.add(service)

    def service_recovered(self, service: str) -> None:
        self._failing.discard(service)

    def health(
        self, *, is_open: bool, stopping: bool, ticks: dict[str, float], cron_ails: bool = False
    ) -> Health:
        """The snapshot of this moment."""
        now = self._clock.monotonic()
        queues = {
            queue: self._queue(consumer, queue, now)
            for consumer in self._consumers
            for queue in consumer.queues
        }
        problems = sorted(f"{service}_failing" for service in self._failing)
        problems += sorted(f"{name}_stalled" for name in self._stalled(queues))
        if cron_ails:
            problems.append("schedule_failing")
        wall = self._clock.now()
        return Health(
            self._status(is_open, stopping, problems),
            problems,
            self._config.worker,
            queues,
            {name: wall - at for name, at in ticks.items()},
            self._leases.lag if self._leases else 0.0,
            now - self._born,
        )

    def _status(self, is_open: bool, stopping: bool, problems: list[str]) -> Status:
        if self.stopped:
            return Status.STOPPED
        if stopping:
            return Status.DRAINING
        if not is_open:
            return Status.STARTING
        return Status.DEGRADED if problems else Status.OK

    def _queue(self, consumer: Consumer, queue: str, now: float) -> QueueHealth:
        stats = self._keeper.stats.get(queue) if self._keeper else None
        return QueueHealth(
            now - consumer.last_round.get(queue, self._born),
            consumer.slots.busy,
            stats.oldest_ready if stats else None,
            stats is not None and stats.paused,
        )

    def _stalled(self, queues: dict[str, QueueHealth]) -> list[str]:
        return [
            queue
            for consumer in self._consumers
            if consumer.slots.busy < consumer.slots.size and not consumer.paused
            for queue in consumer.queues
            if (queues[queue].idle_for or 0) > STALLED_AFTER
        ]
