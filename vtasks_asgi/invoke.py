"""Run one message as Django: registry, context, threads, signals; never raises but to cancel."""

import asyncio
import contextvars
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import partial
from typing import Any

from django.tasks.signals import task_finished, task_started

from vtasks_asgi import lanes, propagation, registry, results, signals, timeouts, tracing
from vtasks_asgi.admission import Admission
from vtasks_asgi.context import VTaskContext
from vtasks_asgi.core import outcome as outcomes
from vtasks_asgi.core.envelope import check_json, pack, task_of
from vtasks_asgi.core.errors import (
    ResultUnserialisable,
    TaskCancelled,
    TaskTimeout,
)
from vtasks_asgi.core.follow import Follow, after_failure, after_success
from vtasks_asgi.core.outcome import Dead, Done, Outcome, Release, Retry, dump_history
from vtasks_asgi.crew import Crew
from vtasks_asgi.joint import Joint, Undone
from vtasks_asgi.notes import Notes, Write
from vtasks_asgi.run import Run, blame
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.supervise import asked_to_end
from vtasks_asgi.store.base import Claim, State
from vtasks_asgi.verdict import verdict


class Invoker:
    """Turns claims into outcomes.

    Args:
        alias: the backend's alias, as results name it.
        sender: the backend's class, the sender of Django's signals.
        worker: this worker's id, recorded with each attempt.
        result_ttl: seconds results are kept unless task or message say otherwise.
        max_rescues: crashes a message survives unless its task says otherwise.
        max_result: bytes a return value, or a checkpoint, may take, encoded.
        joint: runs transactional tasks; None where the messages are in no database.
        now: the time, in epoch seconds.
        save: writes a claim's note, as ``Store.save``; None to keep notes for the settlement.
        hook: what each run happens within, of ``VTASKS_TASK_CONTEXT``.
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
        save: Write | None = None,
        hook: propagation.Hook | None = None,
    ) -> None:
        self._alias = alias
        self._sender = sender
        self._events = events
        self._result_ttl = result_ttl
        self._max_result = max_result
        self._joint = joint or Joint(None)
        self._now = now
        self._save = save
        self._hook = hook
        self._admission = Admission(alias, worker, events, max_rescues=max_rescues, now=now)
        self.rescue = self._admission.rescue
        self._lanes = lanes.Lanes()
        self._crew = Crew()

    def close(self) -> None:
        self._lanes.close()
        self._crew.close()

    def context(self, base: contextvars.Context) -> contextvars.Context:
        """A fresh context to call this in, with a lane of its own; see ``lanes``."""
        return self._lanes.take(base).context.copy()

    def __call__(self, claim: Claim) -> Coroutine[Any, Any, Outcome]:
        """Run the message once, in a ``context``, and say what became of it."""
        return self._in_lane(self._invoke(claim))

    async def _in_lane[T](self, work: Coroutine[Any, Any, T]) -> T:
        lane = lanes.current_lane.get()
        try:
            result = await work
            if lane.used:
                await lane.clean()
        finally:
            self._lanes.give(lane)
        return result

    async def _invoke(self, claim: Claim) -> Outcome:
        run = self._admission.admit(claim, self._now())
        if not isinstance(run, Run):
            await self._tell_expired(claim, run)
            return run
        self._events.started(claim, run.known.name, run.waited)
        outcome: Outcome = Release()  # what the runtime makes of a run it cancels
        try:
            if run.call.meta or self._hook is not None or tracing.in_use():
                outcome = await self._surrounded(run)
            else:
                outcome = await self._attempt(run)
        finally:
            if not run.left:
                self._finished(run, outcome)
        return outcome

    def interruptible(self, claim: Claim) -> bool:
        """Is it a coroutine? What runs in a thread has to look at ``context.cancelled`` itself."""
        known = registry.find(task_of(claim.body))
        return known is not None and known.is_async

    # -- a run

    async def _surrounded(self, run: Run) -> Outcome:
        """``_attempt`` within what was carried here, a trace's span and the project's hook."""
        outcome: Outcome | None = None
        try:
            with ExitStack() as stack:
                propagation.enter(stack, run, self._hook)
                outcome = await self._attempt(run)
                if run.error is not None:
                    raise run.error
        except BaseException as error:  # noqa: BLE001 - the task's own, or of what surrounds it
            if error is not run.error or outcome is None:
                outcome = await self._failed(run, error)
        assert outcome is not None
        return outcome

    async def _attempt(self, run: Run) -> Outcome:
        outcome: Outcome
        if signals.wanted(task_started):
            await signals.asend(task_started, self._sender, run.result)
        known, kwargs = run.known, run.call.kwargs
        try:
            if known.is_async and known.task.timeout is None:
                value = await known.task.func(*self._arguments(run), **kwargs)
                outcome = self._success(run, value)
            else:
                work = partial(known.task.func, *self._arguments(run), **kwargs)
                outcome = await self._elsewhere(run, work)
        except Undone as undone:
            return Release(undone.pause)
        except BaseException as error:  # noqa: BLE001 - _failure raises again what is none
            outcome = await self._failed(run, error)
        if signals.wanted(task_finished, failed=run.state is State.DEAD):
            await self._tell_finished(run)
        return outcome

    def _arguments(self, run: Run) -> list[Any]:
        if not run.known.task.takes_context:
            return run.call.args
        begin_notes = partial(
            Notes,
            run.claim,
            self._save,
            max_size=self._max_result,
            loop=asyncio.get_running_loop(),
            joint=run.known.task.transactional,
        )
        return [VTaskContext(run, begin_notes), *run.call.args]

    async def _elsewhere(self, run: Run, work: Callable[[], Any]) -> Done:
        """Run it in a thread, or as a coroutine that has a time limit."""
        task = run.known.task
        value: Any
        if task.transactional:
            work = self._jointly(run, work)
        if task.timeout is None:
            value = await self._crew.run(work)
        else:
            limit = timeouts.Limit(task.timeout, run, self._late)
            value = await (
                limit.coroutine(work) if run.known.is_async else limit.thread(work, self._crew)
            )
        done: Done = value if task.transactional else self._success(run, value)
        return done

    def _jointly(self, run: Run, work: Callable[[], Any]) -> Callable[[], Done]:
        def attempt() -> Done:
            done = self._success(run, work())
            if run.notes is not None:
                run.notes.include()
            return done

        return partial(self._joint.run, run.claim, attempt)

    def _late(self, run: Run, error: TaskTimeout, stack: str) -> Coroutine[Any, Any, Outcome]:
        return self._in_lane(self._left_behind(run, error, stack))

    async def _left_behind(self, run: Run, error: TaskTimeout, stack: str) -> Outcome:
        """The outcome of a run that does not end though its time is over."""
        self._events.left_behind(run.claim, run.known.name, stack)
        outcome = self._failure(run, error)
        await self._tell_finished(run)
        self._finished(run, outcome)
        return outcome

    async def _failed(self, run: Run, error: BaseException) -> Retry | Dead:
        """Call this where the error is handled, for Django logs the exception in flight.

        Of one that discarded itself nobody needs a traceback: it is told of afterwards.
        """
        outcome = self._failure(run, error)
        if run.reason != outcomes.DISCARDED:
            await self._tell_finished(run)
        return outcome

    async def _tell_finished(self, run: Run) -> None:
        """Send Django's signal, once and only of what will not be tried again."""
        if run.told or run.state is State.RUNNING:
            return
        run.told = True
        if signals.wanted(task_finished, failed=run.state is State.DEAD):
            await signals.asend(task_finished, self._sender, run.result)

    async def _tell_expired(self, claim: Claim, outcome: Outcome) -> None:
        """Send Django's signal of a call that was too late to begin: to Django that has failed."""
        if not isinstance(outcome, Dead) or outcome.reason != outcomes.EXPIRED:
            return
        known = registry.find(task_of(claim.body)) is not None
        if known and signals.wanted(task_finished, failed=True):
            result = partial(results.unstarted, claim, outcome, self._now(), self._alias)
            await signals.asend(task_finished, self._sender, result)

    def _finished(self, run: Run, outcome: Outcome) -> None:
        if run.notes is not None:
            run.notes.close(succeeded=isinstance(outcome, Done))
        seconds = self._now() - run.attempts[-1].started_at
        self._events.finished(run.claim, run.known.name, outcome, seconds)

    def _success(self, run: Run, value: Any) -> Done:
        ttl = run.call.result_ttl
        if ttl is None:
            own = run.known.task.result_ttl
            ttl = self._result_ttl if own is None else own
        if ttl > 0 and value is not None:
            run.packed = self._pack(run, value)
        follow = self._follow(run, value) if run.call.meta else None
        run.value = value
        run.finish(State.DONE, self._now())
        return Done(dump_history(run.attempts), run.packed, ttl, follow=follow)

    def _follow(self, run: Run, value: Any) -> Follow | None:
        try:
            return after_success(
                run.call.meta, run.claim.id, value, self._now(), max_size=self._max_result
            )
        except (TypeError, ValueError) as error:  # among them PayloadTooLarge
            raise ResultUnserialisable(str(error)) from error

    def _pack(self, run: Run, value: Any) -> bytes:
        what = f"the return value of {run.known.name}"
        try:
            check_json(value, what)
            return pack(value, what, max_size=self._max_result)
        except (TypeError, ValueError) as error:  # among them PayloadTooLarge
            raise ResultUnserialisable(str(error)) from error

    def _failure(self, run: Run, error: BaseException) -> Retry | Dead:
        """What becomes of a run that raised ``error``; raises it again if it is no failure."""
        # The runtime cancels for reasons of its own; a task that cancels itself just fails.
        if isinstance(error, asyncio.CancelledError) and asked_to_end():
            if run.left or not run.cancelled:
                raise error
            error = _cancelled(error)
        run.error, run.state, run.value, run.packed = error, State.RUNNING, None, None
        blame(run.attempts[-1], error)
        outcome = verdict(run, error)
        if isinstance(outcome, Dead):
            run.finish(State.DEAD, self._now(), outcome.reason)
            outcome.follow = after_failure(run.call.meta)
        return outcome


def _cancelled(error: BaseException) -> TaskCancelled:
    """What is recorded of a coroutine that was cancelled; its cause tells where it was."""
    cancelled = TaskCancelled("it was cancelled while it ran")
    cancelled.__cause__ = error
    return cancelled


__all__ = ["Invoker", "Run"]
