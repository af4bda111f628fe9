"""Events as log lines with stable extra fields, each named ``vtasks_...``.

Never an argument, a return value or an exception's message; the failure's traceback is in the
task's result. Django's ``django.tasks`` logger tells of each start and finish at INFO, so runs
that succeed are told here at DEBUG only.
"""

import logging
import time
from collections.abc import Callable, Sequence

from vtasks_asgi.core.outcome import (
    CANCELLED,
    DISCARDED,
    EXPIRED,
    Dead,
    Done,
    Outcome,
    Release,
    Retry,
    load_history,
)
from vtasks_asgi.runtime.events import Listener
from vtasks_asgi.store.base import Claim, Ticked
from vtasks_asgi.store.control import Cancellation

tasks = logging.getLogger("vtasks_asgi.tasks")
runtime = logging.getLogger("vtasks_asgi.runtime")

#: Longest name or id shown.
MAX_TEXT = 200

#: Seconds between two warnings about one unknown task, and how many are told apart.
PARKED_PAUSE, PARKED_NAMES = 60.0, 100
#: Of dead letters that are none of their task's failures.
_LEVELS = {DISCARDED: logging.INFO, EXPIRED: logging.WARNING}
_PAUSED = {True: "paused", False: "resumed"}


class Logs(Listener):
    """Listens to the hub and logs.

    Args:
        slow_loop: loop lag in seconds from which a warning is logged.
        late_tick: lateness in seconds from which a tick is a warning.
        pause: seconds between two warnings about loop lag; the worst of the silence is told.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        slow_loop: float = 0.25,
        late_tick: float = 30.0,
        pause: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slow_loop = slow_loop
        self._late_tick = late_tick
        self._pause = pause
        self._clock = clock
        self._quiet_until = float("-inf")
        self._worst: tuple[float, str | None] = (0.0, None)
        self._parked: dict[str, float] = {}

    def finished(self, claim: Claim, task: str, outcome: Outcome, seconds: float) -> None:
        if type(outcome) is Done and not tasks.isEnabledFor(logging.DEBUG):
            return
        fields = _message(claim, task) | {"vtasks_seconds": round(seconds, 6)}
        name = fields["vtasks_task"]
        match outcome:
            case Done():
                fields["vtasks_event"] = "done"
                tasks.debug("Task %s done in %.3f s", name, seconds, extra=fields)
            case Release():
                fields["vtasks_event"] = "released"
                tasks.info("Task %s released, its attempt does not count", name, extra=fields)
            case Retry():
                _log_retry(outcome, fields)
            case Dead():
                _log_dead_letter(outcome, fields)

    def batch_ended(
        self, queue: str, task: str, size: int, seconds: float, error: BaseException | None
    ) -> None:
        if error is None or size == 1:  # what becomes of a single message is told as such
            return
        name, kind = clean(task), type(error)
        fields = {
            "vtasks_event": "batch_failed",
            "vtasks_task": name,
            "vtasks_queue": clean(queue),
            "vtasks_count": size,
            "vtasks_seconds": round(seconds, 6),
            "vtasks_error": clean(f"{kind.__module__}.{kind.__qualname__}"),
        }
        tasks.warning(
            "A batch of %d messages for %s failed with %s",
            *(size, name, fields["vtasks_error"]),
            extra=fields,
        )

    def given_up(self, claim: Claim, task: str, outcome: Dead) -> None:
        """A dead letter without a run: unreadable, expired, or its workers vanished too often."""
        _log_dead_letter(outcome, _message(claim, task))

    def parked(self, claim: Claim, task: str, seconds: float) -> None:
        fields, now = _message(claim, task), self._clock()
        name = clean(task)
        if now < self._parked.get(name, now):
            return
        if len(self._parked) >= PARKED_NAMES:
            self._parked.clear()
        self._parked[name] = now + PARKED_PAUSE
        tasks.warning(
            "Task %s is not known here; its messages wait (%s for %.0f s) and use no attempt",
            *(name, fields["vtasks_id"], seconds),
            extra=fields | {"vtasks_event": "parked", "vtasks_delay": round(seconds, 3)},
        )

    def left_behind(self, claim: Claim, task: str, stack: str) -> None:
        fields = _message(claim, task)
        tasks.error(
            "Task %s did not end when its time was over and is left behind:\n%s",
            *(fields["vtasks_task"], stack),
            extra=fields | {"vtasks_event": "left_behind"},
        )

    def cancelled(self, claims: Sequence[Claim]) -> None:
        for queue, ids in _by_queue(claims).items():
            runtime.info(
                "%d running messages on queue %s were cancelled (first: %s)",
                *(len(ids), queue, ids[0]),
                extra=_many("cancelled", queue, ids),
            )

    def cancel_asked(self, cancellation: Cancellation) -> None:
        for queue, count in cancellation.evicted.items():
            self.evicted(queue, count)

    def queue_paused(self, queue: str, paused: bool) -> None:
        fields = {"vtasks_event": _PAUSED[paused], "vtasks_queue": clean(queue)}
        does = "is paused: nothing of it begins" if paused else "goes on"
        runtime.warning("Queue %s %s", clean(queue), does, extra=fields)

    def task_paused(self, task: str, paused: bool) -> None:
        fields = {"vtasks_event": _PAUSED[paused], "vtasks_task": clean(task)}
        does = "is paused: its messages are given back" if paused else "goes on"
        runtime.warning("Task %s %s", clean(task), does, extra=fields)

    def stale(self, claims: Sequence[Claim]) -> None:
        for queue, ids in _by_queue(claims).items():
            fields = _many("stale", queue, ids)
            runtime.warning(
                "%d leases on queue %s had passed on, their outcomes were refused (first: %s)",
                *(len(ids), queue, ids[0]),
                extra=fields,
            )

    def reclaimed(self, queue: str, claims: Sequence[Claim]) -> None:
        if claims:
            ids = [clean(claim.id) for claim in claims]
            fields = _many("reclaimed", clean(queue), ids)
            fields["vtasks_lost_worker"] = lost = clean(claims[0].lost_worker or "unknown")
            runtime.warning(
                "%d messages on queue %s taken over, their worker vanished (first: %s, held by %s)",
                *(len(ids), clean(queue), ids[0], lost),
                extra=fields,
            )

    def evicted(self, queue: str, count: int) -> None:
        fields = {
            "vtasks_event": "evicted",
            "vtasks_queue": clean(queue),
            "vtasks_count": count,
        }
        runtime.error(
            "%d dead letters of queue %s dropped: over VTASKS_DLQ_CAP",
            *(count, clean(queue)),
            extra=fields,
        )

    def tick(self, schedule: str, lateness: float, ticked: Ticked) -> None:
        name = clean(schedule)
        fields = {"vtasks_schedule": name, "vtasks_seconds": round(lateness, 3)}
        if ticked is Ticked.FIRED:
            runtime.log(
                logging.WARNING if lateness >= self._late_tick else logging.DEBUG,
                "Schedule %s fired, %.1f s after its time",
                *(name, lateness),
                extra={"vtasks_event": "tick"} | fields,
            )
        elif ticked is Ticked.SKIPPED:
            runtime.info(
                "Schedule %s skipped: its unique key is held",
                name,
                extra={"vtasks_event": "tick_skipped"} | fields,
            )

    def loop_lag(self, seconds: float, culprit: str | None) -> None:
        if seconds < self._slow_loop:
            return
        if seconds > self._worst[0]:
            self._worst = (seconds, culprit)
        now = self._clock()
        if now < self._quiet_until:
            return
        (seconds, culprit), self._worst = self._worst, (0.0, None)
        self._quiet_until = now + self._pause
        name = clean(culprit) if culprit else None
        runtime.warning(
            "The event loop was blocked for %.2f s%s",
            *(seconds, f"; in progress was {name}" if name else ""),
            extra={
                "vtasks_event": "loop_lag",
                "vtasks_seconds": round(seconds, 3),
                "vtasks_culprit": name,
            },
        )

    def service_recovered(self, service: str) -> None:
        name = clean(service)
        runtime.info(
            "Service %s works again",
            name,
            extra={"vtasks_event": "service_recovered", "vtasks_service": name},
        )


def _log_retry(outcome: Retry, fields: dict[str, object]) -> None:
    error = _error(outcome.history)
    tasks.warning(
        "Task %s failed with %s in attempt %d, next in %.1f s",
        *(fields["vtasks_task"], error, fields["vtasks_attempt"], outcome.delay),
        extra=fields
        | {
            "vtasks_event": "retry",
            "vtasks_delay": round(outcome.delay, 3),
            "vtasks_error": error,
        },
    )


def _log_dead_letter(outcome: Dead, fields: dict[str, object]) -> None:
    if outcome.reason == CANCELLED:
        attempt = fields["vtasks_attempt"]
        fields |= {"vtasks_event": "dead_letter", "vtasks_reason": CANCELLED}
        tasks.info(
            "Task %s ended in attempt %d: cancelled", fields["vtasks_task"], attempt, extra=fields
        )
        return
    error, reason = _error(outcome.history), clean(outcome.reason)
    tasks.log(
        _LEVELS.get(outcome.reason, logging.ERROR),
        "Task %s given up on after attempt %d: %s (%s)",
        *(fields["vtasks_task"] or "(unreadable)", fields["vtasks_attempt"], reason, error),
        extra=fields
        | {"vtasks_event": "dead_letter", "vtasks_reason": reason, "vtasks_error": error},
    )


def clean(text: str) -> str:
    """Text safe in a log line: no control, bidirectional or line-breaking characters, bounded."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "?" for c in text[: MAX_TEXT + 1])
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."


def _message(claim: Claim, task: str) -> dict[str, object]:
    return {
        "vtasks_task": clean(task),
        "vtasks_queue": clean(claim.queue),
        "vtasks_id": clean(claim.id),
        "vtasks_attempt": claim.attempt,
    }


def _error(history: bytes) -> str:
    attempts = load_history(history)
    return clean((attempts and attempts[-1].error) or "no error recorded")


def _by_queue(claims: Sequence[Claim]) -> dict[str, list[str]]:
    queues: dict[str, list[str]] = {}
    for claim in claims:
        queues.setdefault(clean(claim.queue), []).append(clean(claim.id))
    return queues


def _many(event: str, queue: str, ids: list[str]) -> dict[str, object]:
    return {
        "vtasks_event": event,
        "vtasks_queue": queue,
        "vtasks_count": len(ids),
        "vtasks_ids": ids[:10],
    }
