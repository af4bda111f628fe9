"""Run one message as Django: registry, context, threads, signals; never raises but to cancel."""

import asyncio
import contextvars
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from traceback import format_exception
from typing import Any

from django.tasks import TaskContext
from django.tasks.signals import task_finished, task_started

from vtasks_asgi import lanes, registry, results, signals
from vtasks_asgi.core import outcome as outcomes
from vtasks_asgi.core import retry
from vtasks_asgi.core.envelope import Call, check_json, decode, pack, task_of
from vtasks_asgi.core.errors import (
    MessageUndecodable,
    ResultUnserialisable,
    TaskCancelled,
    WorkerLost,
)
from vtasks_asgi.core.outcome import Attempt, Dead, Done, Outcome, Release, dump_history
from vtasks_asgi.crew import Crew
from vtasks_asgi.joint import Joint, Undone
from vtasks_asgi.registry import Registered
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.supervise import asked_to_end
from vtasks_asgi.store.base import Claim, Record, State

#: Bytes of a traceback that are kept: its end, where the error is.
TRACEBACK_LIMIT = 16 * 1024
#: Seconds a message of an unknown task waits: as long as it has waited already, within these.
UNKNOWN_PAUSE = (10.0, 24 * 3600.0)


@dataclass(slots=True)
class Run:
    """One attempt in progress, and the lazily built view Django has of it."""

    claim: Claim
    call: Call
    known: Registered
    attempts: list[Attempt]
    alias: str
    state: State = State.RUNNING
    finished_at: float | None = None
    value: Any = None
    packed: bytes | None = None
    _result: results.AnyResult | None = field(default=None)

    def result(self) -> results.AnyResult:
        """The TaskResult of this moment; the same object for all who look at one state."""
        if self._result is None:
            claim = self.claim
            record = Record(
                claim.id,
                claim.queue,
                self.state,
                claim.body,
                claim.priority,
                finished_at=self.finished_at,
                value=self.packed,
            )
            self._result = results.build(
                record, self.call, self.known.task, self.attempts, self.alias
            )
            if self.packed is None:  # a value nobody keeps is shown as it is
                object.__setattr__(self._result, "_return_value", self.value)
        return self._result

    @property
    def waited(self) -> float:
        """Seconds from when it was due to its start."""
        return self.attempts[-1].started_at - (self.claim.run_at or self.call.enqueued_at)

    def finish(self, state: State, at: float) -> None:
        self.state, self.finished_at, self._result = state, at, None


class Invoker:
    """Turns claims into outcomes.

    Args:
        alias: the backend's alias, as results name it.
        sender: the backend's class, the sender of Django's signals.
        worker: this worker's id, recorded with each attempt.
        result_ttl: seconds results are kept unless task or message say otherwise.
        max_rescues: crashes a message survives unless its task says otherwise.
        max_result: bytes a return value may take, encoded.
        joint: runs transactional tasks; None where the messages are in no database.
        now: the time, in epoch seconds.
    """

    def __init__(
        self,
        *,
        alias: str,
        sender: type,
        worker: str,
        events: Events,
        result_ttl: float,
        max_rescues: int,
        max_result: int,
        joint: Joint | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._alias = alias
        self._sender = sender
        self._worker = worker
        self._events = events
        self._result_ttl = result_ttl
        self._max_rescues = max_rescues
        self._max_result = max_result
        self._joint = joint or Joint(None)
        self._now = now
        self._lanes = lanes.Lanes()
        self._crew = Crew()

    def close(self) -> None:
        self._lanes.close()
        self._crew.close()

    def context(self, base: contextvars.Context) -> contextvars.Context:
        """A fresh context to call this in, with a lane of its own; see ``lanes``."""
        return self._lanes.take(base).context.copy()

    async def __call__(self, claim: Claim) -> Outcome:
        """Run the message once, in a ``context``, and say what became of it."""
        return await self._in_lane(self._invoke(claim))

    async def _in_lane[T](self, work: Awaitable[T]) -> T:
        lane = lanes.current_lane.get()
        try:
            result = await work
            if lane.used:
                await lane.clean()
        finally:
            self._lanes.give(lane)
        return result

    async def _invoke(self, claim: Claim) -> Outcome:
        started_at = self._now()
        run = self._prepare(claim, started_at)
        if not isinstance(run, Run):
            return run
        self._events.started(claim, run.known.name, run.waited)
        outcome: Outcome = Release()  # what the runtime makes of a run it cancels
        try:
            outcome = await self._attempt(run)
        finally:
            self._events.finished(claim, run.known.name, outcome, self._now() - started_at)
        return outcome

    def _prepare(self, claim: Claim, started_at: float) -> Run | Dead | Release:
        """The run this claim begins, or its outcome if it cannot be run."""
        attempts = outcomes.load_history(claim.history) if claim.history else []
        attempts.append(Attempt(self._worker, started_at))
        try:
            call = decode(claim.body)
        except MessageUndecodable as error:
            _blame(attempts[-1], error)
            dead = Dead(dump_history(attempts), outcomes.UNDECODABLE)
            self._events.given_up(claim, "", dead)
            return dead
        known = registry.find(call.task)
        if known is None:
            shortest, longest = UNKNOWN_PAUSE
            return Release(min(max(started_at - call.enqueued_at, shortest), longest))
        return Run(claim, call, known, attempts, self._alias)

    def interruptible(self, claim: Claim) -> bool:
        """Is it a coroutine? What runs in a thread has to look at ``context.cancelled`` itself."""
        known = registry.find(task_of(claim.body))
        return known is not None and known.is_async

    def rescue(self, claim: Claim) -> Outcome:
        """The outcome of a claim taken over from a worker that vanished."""
        attempts = outcomes.load_history(claim.history)
        lost = Attempt(claim.lost_worker or "unknown", claim.lost_at or self._now())
        _blame(lost, WorkerLost("the worker vanished, or its lease ran out"))
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
        if isinstance(outcome, Dead):
            self._events.given_up(claim, name, outcome)
        return outcome

    async def _attempt(self, run: Run) -> Outcome:
        outcome: Outcome
        if signals.wanted(task_started):
            await signals.asend(task_started, self._sender, run.result)
        known, kwargs = run.known, run.call.kwargs
        try:
            if known.is_async:
                value = await known.task.func(*_arguments(run), **kwargs)
                outcome = self._success(run, value)
            else:
                call = partial(known.task.func, *_arguments(run), **kwargs)
                outcome = await self._in_thread(run, call)
        except Undone as undone:
            return Release(undone.pause)
        except BaseException as error:
            # The runtime cancels for reasons of its own; a task that cancels itself just fails.
            if isinstance(error, asyncio.CancelledError) and asked_to_end():
                if not run.claim.cancelled:
                    raise
                error = _cancelled(error)
            outcome = await self._failed(run, error)
        else:
            if signals.wanted(task_finished):
                await signals.asend(task_finished, self._sender, run.result)
        return outcome

    async def _failed(self, run: Run, error: BaseException) -> Outcome:
        """Call this where the error is handled, for Django logs the exception in flight."""
        outcome = self._failure(run, error)
        if isinstance(outcome, Dead) and signals.wanted(task_finished, failed=True):
            await signals.asend(task_finished, self._sender, run.result)
        return outcome

    async def _in_thread(self, run: Run, call: Callable[[], Any]) -> Done:
        if not run.known.task.transactional:
            return self._success(run, await self._crew.run(call))
        together = partial(self._joint.run, run.claim, lambda: self._success(run, call()))
        return await self._crew.run(together)

    def _success(self, run: Run, value: Any) -> Done:
        ttl = run.call.result_ttl
        if ttl is None:
            own = run.known.task.result_ttl
            ttl = self._result_ttl if own is None else own
        if ttl > 0 and value is not None:
            run.packed = self._pack(run, value)
        run.value = value
        run.finish(State.DONE, self._now())
        return Done(dump_history(run.attempts), run.packed, ttl)

    def _pack(self, run: Run, value: Any) -> bytes:
        what = f"the return value of {run.known.name}"
        try:
            check_json(value, what)
            return pack(value, what, max_size=self._max_result)
        except (TypeError, ValueError) as error:  # among them PayloadTooLarge
            raise ResultUnserialisable(str(error)) from error

    def _failure(self, run: Run, error: BaseException) -> Outcome:
        _blame(run.attempts[-1], error)
        history = dump_history(run.attempts)
        outcome: Outcome
        if isinstance(error, ResultUnserialisable):
            outcome = Dead(history, outcomes.RESULT_UNSERIALISABLE)
        else:
            claim = run.claim
            outcome = retry.after_failure(
                run.known.task.policy,
                attempt=claim.attempt,
                crashes=claim.crashes,
                history=history,
                random=random.random,
                cancelled=claim.cancelled,
            )
        if isinstance(outcome, Dead):
            run.finish(State.DEAD, self._now())
        return outcome


def _arguments(run: Run) -> list[Any]:
    if run.known.task.takes_context:
        return [TaskContext(task_result=run.result()), *run.call.args]
    return run.call.args


def _cancelled(error: BaseException) -> TaskCancelled:
    """What is recorded of a coroutine that was cancelled; its cause tells where it was."""
    cancelled = TaskCancelled("it was cancelled while it ran")
    cancelled.__cause__ = error
    return cancelled


def _blame(attempt: Attempt, error: BaseException) -> None:
    """Record the error: its class and traceback, without locals, bounded."""
    kind = type(error)
    attempt.error = f"{kind.__module__}.{kind.__qualname__}"
    text = "".join(format_exception(error))
    if len(text) > TRACEBACK_LIMIT:
        text = "[...]\n" + text[-TRACEBACK_LIMIT:]
    attempt.traceback = text.encode("utf-8", "replace").decode()


__all__ = ["Invoker", "Run"]
