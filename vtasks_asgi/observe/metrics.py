"""Events become numbers here; ``observe.collector`` shows them to Prometheus.

Labels are bounded: task names come from the registry, queues and schedules from the settings,
and everything else is counted as ``other``, so hostile names cannot grow the series.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from vtasks_asgi.core.errors import VTasksError
from vtasks_asgi.core.outcome import (
    ARGUMENTS,
    CANCELLED,
    DISCARDED,
    EXHAUSTED,
    EXPIRED,
    NOT_RETRYABLE,
    RESULT_UNSERIALISABLE,
    UNDECODABLE,
    WORKER_LOST,
    Dead,
    Done,
    Outcome,
    Release,
    Retry,
)
from vtasks_asgi.observe.tally import (
    OTHER,
    STATUSES,
    BatchCell,
    Depth,
    QueueCell,
    ScheduleCell,
    Tally,
    TaskCell,
)
from vtasks_asgi.runtime.events import Listener
from vtasks_asgi.store.base import Claim, QueueStats, Ticked
from vtasks_asgi.store.control import Cancellation

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

#: The values of the ``reason`` label; any other reason is counted as ``other``.
REASONS = frozenset(
    {
        ARGUMENTS,
        CANCELLED,
        DISCARDED,
        EXHAUSTED,
        EXPIRED,
        NOT_RETRYABLE,
        RESULT_UNSERIALISABLE,
        UNDECODABLE,
        WORKER_LOST,
    }
)

#: Services are named by code, not by data; this is a fuse, not a setting.
MAX_SERVICES = 64

_STATUS: dict[type, int] = {
    kind: STATUSES.index(word)
    for kind, word in ((Done, "success"), (Retry, "retry"), (Dead, "dead"), (Release, "released"))
}
_tallies: "WeakKeyDictionary[CollectorRegistry, Tally]" = WeakKeyDictionary()


class Metrics(Listener):
    """Listens to the hub and counts.

    Add exactly one to a hub. Instances on the same registry continue the same numbers, so a
    runtime that is restarted within a process keeps its counters.

    Args:
        known_task: whether a dotted task name is registered; asked once per known name.
        queues: the configured queues.
        schedules: the names of the configured schedule entries.
        registry: a ``CollectorRegistry``; the default is ``prometheus_client.REGISTRY``.
        clock: seconds since the epoch.

    Raises:
        VTasksError: another package has already registered metrics of the same names.
    """

    def __init__(
        self,
        *,
        known_task: Callable[[str], bool],
        queues: Iterable[str],
        schedules: Iterable[str] = (),
        registry: "CollectorRegistry | None" = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._known_task = known_task
        self._clock = clock
        self._tally = tally = _tally(registry)
        self._lock = tally.lock
        with tally.lock:
            for queue in queues:
                tally.queues.setdefault(queue, QueueCell())
            for schedule in schedules:
                tally.schedules.setdefault(schedule, ScheduleCell())
        self._queues = tally.queues

    # -- one task

    def submitted(self, task: str, queue: str, count: int) -> None:
        known = self._queues.get(queue) or self._other_queue()
        cell = known.tasks.get(task) or self._task(known, task)
        with self._lock:
            cell.submitted += count

    def duplicate(self, task: str, queue: str, count: int) -> None:
        cell = self._task(self._queues.get(queue) or self._other_queue(), task)
        with self._lock:
            cell.duplicates += count

    def started(self, claim: Claim, task: str, waited: float) -> None:
        queue = self._queues.get(claim.queue) or self._other_queue()
        with self._lock:
            queue.active += 1
            queue.waited.observe(waited if waited > 0.0 else 0.0)

    def finished(self, claim: Claim, task: str, outcome: Outcome, seconds: float) -> None:
        queue = self._queues.get(claim.queue) or self._other_queue()
        cell = queue.tasks.get(task) or self._task(queue, task)
        with self._lock:
            queue.active -= 1
            cell.outcomes[_STATUS[type(outcome)]] += 1
            cell.seconds.observe(seconds)
            if type(outcome) is Dead:
                _count_dead_letter(queue, outcome)

    def batch_ended(
        self, queue: str, task: str, size: int, seconds: float, error: BaseException | None
    ) -> None:
        name = task if self._known_task(task) else OTHER
        cells = (self._queues.get(queue) or self._other_queue()).batches
        with self._lock:
            cell = cells.setdefault(name, BatchCell())
            cell.sizes.observe(size)
            cell.seconds.observe(seconds)
            cell.failed += error is not None

    def given_up(self, claim: Claim, task: str, outcome: Dead) -> None:
        """A dead letter without a run: unreadable, expired, or its workers vanished too often."""
        queue = self._queues.get(claim.queue) or self._other_queue()
        with self._lock:
            _count_dead_letter(queue, outcome)

    def parked(self, claim: Claim, task: str, seconds: float) -> None:
        queue = self._queues.get(claim.queue) or self._other_queue()
        with self._lock:
            queue.parked += 1

    def left_behind(self, claim: Claim, task: str, stack: str) -> None:
        queue = self._queues.get(claim.queue) or self._other_queue()
        with self._lock:
            queue.left_behind += 1

    def _task(self, queue: QueueCell, task: str) -> TaskCell:
        cell = queue.tasks.get(task)
        if cell is None:
            # An unknown name is never kept, so there is nothing for hostile names to fill.
            name = task if self._known_task(task) else OTHER
            with self._lock:
                cell = queue.tasks.setdefault(name, TaskCell())
        return cell

    def _other_queue(self) -> QueueCell:
        with self._lock:
            return self._queues.setdefault(OTHER, QueueCell())

    # -- operators

    def cancelled(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            queue = self._queues.get(claim.queue) or self._other_queue()
            with self._lock:
                queue.cancelled += 1

    def cancel_asked(self, cancellation: Cancellation) -> None:
        for name, count in cancellation.buried.items():
            queue = self._queues.get(name) or self._other_queue()
            with self._lock:
                queue.dead[CANCELLED] = queue.dead.get(CANCELLED, 0) + count
        for name, count in cancellation.evicted.items():
            self.evicted(name, count)

    def given_back(self, task: str, queue: str, count: int) -> None:
        cell = self._queues.get(queue) or self._other_queue()
        with self._lock:
            cell.given_back += count

    # -- leases and dead letters

    def stale(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            queue = self._queues.get(claim.queue) or self._other_queue()
            with self._lock:
                queue.stale += 1

    def reclaimed(self, queue: str, claims: Sequence[Claim]) -> None:
        cell = self._queues.get(queue) or self._other_queue()
        with self._lock:
            cell.reclaimed += len(claims)

    def evicted(self, queue: str, count: int) -> None:
        cell = self._queues.get(queue) or self._other_queue()
        with self._lock:
            cell.evicted += count

    # -- the runtime

    def tick(self, schedule: str, lateness: float, ticked: Ticked) -> None:
        if ticked is Ticked.LATE:  # the process that had it counts it
            return
        with self._lock:
            known = self._tally.schedules
            cell = known.get(schedule) or known.setdefault(OTHER, ScheduleCell())
            if ticked is Ticked.SKIPPED:
                cell.skipped += 1
            else:
                cell.lateness.observe(max(lateness, 0.0))

    def sampled(self, stats: dict[str, QueueStats]) -> None:
        with self._lock:
            self._tally.sampled_at = self._clock()
            for name, seen in stats.items():
                if cell := self._queues.get(name):
                    oldest = seen.oldest_ready or 0.0
                    cell.depth = Depth(seen.ready, seen.delayed, seen.dead, oldest, seen.paused)

    def loop_lag(self, seconds: float, culprit: str | None) -> None:
        with self._lock:
            self._tally.lag = seconds
            self._tally.lag_max.add(seconds)

    def service_failed(self, service: str, error: BaseException) -> None:
        with self._lock:
            services = self._tally.services
            name = service if service in services or len(services) < MAX_SERVICES else OTHER
            services[name] = services.get(name, 0) + 1


def _count_dead_letter(queue: QueueCell, outcome: Dead) -> None:
    reason = outcome.reason if outcome.reason in REASONS else OTHER
    queue.dead[reason] = queue.dead.get(reason, 0) + 1


def _tally(registry: "CollectorRegistry | None") -> Tally:
    """The numbers of this registry, registered there when first asked for."""
    # Imported here: a process without metrics should not pay for the library.
    import prometheus_client  # noqa: PLC0415

    from vtasks_asgi.observe.collector import VTasksCollector  # noqa: PLC0415

    if registry is None:
        registry = prometheus_client.REGISTRY
    tally = _tallies.get(registry)
    if tally is None:
        tally = Tally()
        try:
            registry.register(VTasksCollector(tally))
        except ValueError as error:
            raise VTasksError(
                "another package has registered vtasks_ metrics in this Prometheus registry;"
                " do not load two task queues of these names in one process, or pass a registry"
                f" of your own to Metrics ({error})"
            ) from error
        _tallies[registry] = tally
    return tally
