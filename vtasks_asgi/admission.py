"""Which claims are run: those that can be read, are in time, and whose task is known."""

import random
import time
from collections.abc import Callable

from vtasks_asgi import registry
from vtasks_asgi.core import outcome as outcomes
from vtasks_asgi.core import retry
from vtasks_asgi.core.envelope import Call, decode, task_of
from vtasks_asgi.core.errors import MessageUndecodable, WorkerLost
from vtasks_asgi.core.follow import after_failure, failure_of
from vtasks_asgi.core.outcome import Attempt, Dead, Outcome, Release, dump_history
from vtasks_asgi.run import Run, blame
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.store.base import Claim

#: Seconds a message of an unknown task waits: as long as it has waited already, within these.
UNKNOWN_PAUSE = (10.0, 24 * 3600.0)


class Admission:
    """Says what begins with a claim: a run, or what becomes of the message without one."""

    def __init__(
        self,
        alias: str,
        worker: str,
        events: Events,
        *,
        max_rescues: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._alias = alias
        self._worker = worker
        self._events = events
        self._max_rescues = max_rescues
        self._now = now

    def admit(self, claim: Claim, started_at: float) -> Run | Dead | Release:
        """The run this claim begins at that time, or its outcome if it cannot be run."""
        attempts = outcomes.load_history(claim.history) if claim.history else []
        try:
            call = decode(claim.body)
        except MessageUndecodable as error:
            attempts.append(Attempt(self._worker, started_at))
            blame(attempts[-1], error)
            return self._give_up(claim, "", Dead(dump_history(attempts), outcomes.UNDECODABLE))
        if call.expires_at is not None and started_at >= call.expires_at:
            follow = after_failure(call.meta)
            expired = Dead(dump_history(attempts), outcomes.EXPIRED, follow)
            return self._give_up(claim, call.task, expired)
        known = registry.find(call.task)
        if known is None:
            return self._park(claim, call, started_at)
        attempts.append(Attempt(self._worker, started_at))
        return Run(claim, call, known, attempts, self._alias)

    def rescue(self, claim: Claim) -> Outcome:
        """The outcome of a claim taken over from a worker that vanished."""
        attempts = outcomes.load_history(claim.history)
        lost = Attempt(claim.lost_worker or "unknown", claim.lost_at or self._now())
        blame(lost, WorkerLost("the worker vanished, or its lease ran out"))
        attempts.append(lost)
        name = task_of(claim.body)
        own = known.task.max_rescues if (known := registry.find(name)) else None
        rescues = self._max_rescues if own is None else own
        history = dump_history(attempts)
        outcome = retry.after_crash(
            rescues,
            crashes=claim.crashes,
            history=history,
            random=random.random,
            cancelled=claim.cancelled,
        )
        if not isinstance(outcome, Dead):
            return outcome
        outcome.follow = failure_of(claim.body)
        return self._give_up(claim, name, outcome)

    def _give_up(self, claim: Claim, name: str, outcome: Dead) -> Dead:
        self._events.given_up(claim, name, outcome)
        return outcome

    def _park(self, claim: Claim, call: Call, now: float) -> Release:
        shortest, longest = UNKNOWN_PAUSE
        pause = min(max(now - call.enqueued_at, shortest), longest)
        self._events.parked(claim, call.task, pause)
        return Release(pause)
