"""The numbers of ``observe.tally`` as Prometheus metric families.

Import this module only where Prometheus is wanted: it loads ``prometheus_client``.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from vtasks_asgi.observe.tally import STATUSES, Histogram, QueueCell, Tally


class Families:
    """One empty family for each metric, in the order in which they are shown."""

    def __init__(self) -> None:
        of_task = ["task_name", "queue"]
        of_queue = ["queue"]
        self.submitted = CounterMetricFamily(
            "vtasks_tasks_submitted", "Calls accepted by the store.", labels=of_task
        )
        self.duplicates = CounterMetricFamily(
            "vtasks_tasks_duplicates",
            "Calls not stored because their unique key is held.",
            labels=of_task,
        )
        self.processed = CounterMetricFamily(
            "vtasks_tasks_processed", "Runs that ended.", labels=[*of_task, "status"]
        )
        self.duration = HistogramMetricFamily(
            "vtasks_task_duration_seconds", "Time a run took.", labels=of_task
        )
        self.batch_size = HistogramMetricFamily(
            "vtasks_batch_size", "Messages of one call of a batch's task.", labels=of_task
        )
        self.batch_duration = HistogramMetricFamily(
            "vtasks_batch_duration_seconds", "Time such a call took.", labels=of_task
        )
        self.batch_failures = CounterMetricFamily(
            "vtasks_batch_failures", "Such calls that raised.", labels=of_task
        )
        self.active = GaugeMetricFamily(
            "vtasks_active_tasks", "Runs in progress in this process.", labels=of_queue
        )
        self.latency = HistogramMetricFamily(
            "vtasks_queue_latency_seconds", "Time from due to started.", labels=of_queue
        )
        self.retries = CounterMetricFamily(
            "vtasks_retries", "Failed runs put back to be tried again.", labels=of_queue
        )
        self.dead = CounterMetricFamily(
            "vtasks_dead_letters", "Messages given up on.", labels=["queue", "reason"]
        )
        self.evicted = CounterMetricFamily(
            "vtasks_dead_letter_evictions", "Dead letters dropped over the cap.", labels=of_queue
        )
        self.stale = CounterMetricFamily(
            "vtasks_stale_settle", "Settlements and renewals refused as late.", labels=of_queue
        )
        self.reclaimed = CounterMetricFamily(
            "vtasks_reclaimed", "Runs taken over from workers that vanished.", labels=of_queue
        )
        self.parked = CounterMetricFamily(
            "vtasks_parked",
            "Messages put back because nobody here knows their task.",
            labels=of_queue,
        )
        self.left_behind = CounterMetricFamily(
            "vtasks_left_behind", "Runs that did not end when their time was over.", labels=of_queue
        )
        self.cancelled = CounterMetricFamily(
            "vtasks_cancelled", "Runs in this process that were asked to end.", labels=of_queue
        )
        self.given_back = CounterMetricFamily(
            "vtasks_given_back", "Claims put back because their task is paused.", labels=of_queue
        )
        self.paused = GaugeMetricFamily(
            "vtasks_queue_paused", "1 while the queue is paused, else 0.", labels=of_queue
        )
        self.depth = GaugeMetricFamily(
            "vtasks_queue_depth", "Messages ready and waiting.", labels=of_queue
        )
        self.delayed = GaugeMetricFamily(
            "vtasks_queue_delayed", "Messages waiting for their time.", labels=of_queue
        )
        self.kept = GaugeMetricFamily(
            "vtasks_queue_dead_letters", "Dead letters kept.", labels=of_queue
        )
        self.oldest = GaugeMetricFamily(
            "vtasks_queue_oldest_ready_seconds",
            "Age of the message waiting longest.",
            labels=of_queue,
        )
        self.sampled = GaugeMetricFamily(
            "vtasks_queue_sampled_timestamp_seconds", "When the queues were last looked at."
        )
        self.ticks = CounterMetricFamily(
            "vtasks_ticks", "Ticks fired by this process.", labels=["schedule"]
        )
        self.skipped = CounterMetricFamily(
            "vtasks_ticks_skipped",
            "Ticks not enqueued because their unique key is held.",
            labels=["schedule"],
        )
        self.lateness = HistogramMetricFamily(
            "vtasks_tick_lateness_seconds", "Time from due to fired.", labels=["schedule"]
        )
        self.lag = GaugeMetricFamily(
            "vtasks_loop_lag_seconds", "Delay of the event loop as last measured."
        )
        self.lag_max = GaugeMetricFamily(
            "vtasks_loop_lag_max_seconds", "Worst delay of the last one to two minutes."
        )
        self.services = CounterMetricFamily(
            "vtasks_service_failures",
            "Services that raised and were restarted.",
            labels=["service"],
        )

    def all(self) -> list[Metric]:
        return list(vars(self).values())


class VTasksCollector(Collector):
    """Registered once for each registry; see ``observe.metrics``."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def describe(self) -> Iterable[Metric]:
        return Families().all()

    def collect(self) -> Iterable[Metric]:
        tally, families = self._tally.snapshot(), Families()
        _tell_tasks(families, tally)
        for name, queue in tally.queues.items():
            _tell_queue(families, name, queue)
        for name, schedule in tally.schedules.items():
            families.ticks.add_metric([name], sum(schedule.lateness.counts))
            families.skipped.add_metric([name], schedule.skipped)
            _tell_histogram(families.lateness, [name], schedule.lateness)
        for name, count in tally.services.items():
            families.services.add_metric([name], count)
        if tally.sampled_at is not None:
            families.sampled.add_metric([], tally.sampled_at)
        families.lag.add_metric([], tally.lag)
        families.lag_max.add_metric([], tally.lag_max.read())
        return families.all()


def _tell_tasks(families: Families, tally: Tally) -> None:
    for queue, task, cell in tally.cells():
        families.submitted.add_metric([task, queue], cell.submitted)
        families.duplicates.add_metric([task, queue], cell.duplicates)
        for status, count in zip(STATUSES, cell.outcomes, strict=True):
            families.processed.add_metric([task, queue, status], count)
        _tell_histogram(families.duration, [task, queue], cell.seconds)


def _tell_queue(families: Families, name: str, queue: QueueCell) -> None:
    label = [name]
    retry = STATUSES.index("retry")
    families.active.add_metric(label, queue.active)
    _tell_histogram(families.latency, label, queue.waited)
    for task, batch in queue.batches.items():
        _tell_histogram(families.batch_size, [task, name], batch.sizes)
        _tell_histogram(families.batch_duration, [task, name], batch.seconds)
        families.batch_failures.add_metric([task, name], batch.failed)
    families.retries.add_metric(label, sum(c.outcomes[retry] for c in queue.tasks.values()))
    families.evicted.add_metric(label, queue.evicted)
    families.stale.add_metric(label, queue.stale)
    families.reclaimed.add_metric(label, queue.reclaimed)
    families.parked.add_metric(label, queue.parked)
    families.left_behind.add_metric(label, queue.left_behind)
    families.cancelled.add_metric(label, queue.cancelled)
    families.given_back.add_metric(label, queue.given_back)
    for reason, count in queue.dead.items():
        families.dead.add_metric([name, reason], count)
    if queue.depth is not None:
        families.depth.add_metric(label, queue.depth.ready)
        families.delayed.add_metric(label, queue.depth.delayed)
        families.kept.add_metric(label, queue.depth.dead)
        families.oldest.add_metric(label, queue.depth.oldest)
        families.paused.add_metric(label, int(queue.depth.paused))


def _tell_histogram(
    family: HistogramMetricFamily, labels: Sequence[str], histogram: Histogram
) -> None:
    bounds = [*map(repr, histogram.bounds), "+Inf"]
    running = accumulate(histogram.counts)
    family.add_metric(labels, list(zip(bounds, running, strict=True)), histogram.total)
