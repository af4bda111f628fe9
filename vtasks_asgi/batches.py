"""Run many messages by one call, and find out by halving which of them make it fail."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.tasks.exceptions import InvalidTask
from django.tasks.signals import task_started

from vtasks_asgi import registry, signals, timeouts
from vtasks_asgi.backends.validate import batch_problem
from vtasks_asgi.core.batch import Batch, BatchItem, batch_item, shares
from vtasks_asgi.core.envelope import decode
from vtasks_asgi.core.errors import ResultUnserialisable
from vtasks_asgi.core.outcome import Outcome, Release
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.invoke import Invoker, Run
from vtasks_asgi.registry import Registered
from vtasks_asgi.runtime.execute import Hand
from vtasks_asgi.runtime.slices import Slices
from vtasks_asgi.runtime.supervise import asked_to_end
from vtasks_asgi.store.base import Claim

#: So many messages in a row that failed alone are no coincidence: the fault is elsewhere. The rest
#: is spared its attempt and waits for so many seconds.
GIVE_UP_AFTER, REST_PAUSE = 10, 5.0

#: Errors about the call itself: nothing would come of repeating it with fewer messages.
OF_THE_CALL = (InvalidTask, ResultUnserialisable, KeyboardInterrupt, SystemExit, GeneratorExit)


@dataclass(slots=True)
class _Call:
    """One batch: its function, and the runs that are not concluded yet."""

    batch: Batch
    hand: Hand
    function: Registered
    runs: dict[str, Run]
    slices: Slices


class BatchInvoker(Invoker):
    """Turns claims into outcomes, one by one or by the call of a batch."""

    async def batch(self, batch: Batch, claims: Sequence[Claim], hand: Hand) -> Outcome:
        """Run these by one call of the batch's task, in a ``context``; see ``Invoke``.

        A call that raises is repeated with one half of its messages and then the other, unless the
        batch says ``split=False``, so that in the end only those fail that fail alone.

        Raises:
            ConfigurationError: the batch's task is not registered.
        """
        return await self._in_lane(self._batch(batch, claims, hand))

    async def _batch(self, batch: Batch, claims: Sequence[Claim], hand: Hand) -> Outcome:
        runs, slices, started_at = {}, Slices(), self._now()
        for claim in claims:
            run = self._admission.admit(claim, started_at)
            if isinstance(run, Run):
                runs[claim.id] = run
            else:
                await self._tell_expired(claim, run)
                hand.decide(claim, run)
            await slices.rest()
        if not runs:
            return Release()
        call = _Call(batch, hand, _function(batch, runs.values()), runs, slices)
        for run in runs.values():
            self._events.started(run.claim, run.known.name, run.waited)
        rest: Outcome = Release()
        try:
            if signals.wanted(task_started):
                for run in runs.values():
                    await signals.asend(task_started, self._sender, run.result)
            if not await self._halve(call):
                rest = Release(REST_PAUSE)
        finally:
            for run in runs.values():
                self._finished(run, rest)
        return rest

    async def _halve(self, call: _Call) -> bool:
        """Call the function until every message is done or has failed alone; False: gave up."""
        parts, failed = [list(call.runs.values())], 0
        while parts and failed < GIVE_UP_AFTER:
            part = [run for run in parts.pop() if _goes_on(run.claim, call.hand)]
            if not part:
                continue
            told = await self._ask(call, part)
            if isinstance(told, BaseException):
                if len(part) > 1 and call.batch.split and not isinstance(told, OF_THE_CALL):
                    parts += _halves(part)
                    continue
                failed += 1
                told = [told] * len(part)
            else:
                failed = 0
            for run, value in zip(part, told, strict=True):
                await self._tell(call, run, value)
                await call.slices.rest()
        return not parts

    async def _ask(self, call: _Call, part: Sequence[Run]) -> list[Any] | BaseException:
        """What the function makes of each, a value or an exception; or what it raised."""
        ids = [run.claim.id for run in part]
        items = [
            batch_item(id, run.claim.queue, run.call, len(run.attempts))
            for id, run in zip(ids, part, strict=True)
        ]
        function, began = call.function, self._now()
        error: BaseException | None = None
        try:
            if problem := batch_problem(function.task):
                raise InvalidTask(problem)
            with self._around(function.name, part):
                return shares(await self._returned(function, items), ids)
        except BaseException as raised:
            # The runtime cancels for reasons of its own; a task that cancels itself just fails.
            if isinstance(raised, asyncio.CancelledError) and asked_to_end():
                raise
            error = raised
            return raised
        finally:
            queue, seconds = part[0].claim.queue, self._now() - began
            self._events.batch_ended(queue, function.name, len(part), seconds, error)

    async def _returned(self, function: Registered, items: list[BatchItem]) -> Any:
        work = partial(function.task.func, items)
        if function.task.timeout is None:
            return await (work() if function.is_async else self._crew.run(work))
        limit = timeouts.Limit(function.task.timeout)
        if function.is_async:
            return await limit.coroutine(work)
        return await limit.thread(work, self._crew)

    def _around(self, name: str, part: Sequence[Run]) -> AbstractContextManager[Any]:
        """What the project's hook has a call happen within."""
        if self._hook is None:
            return nullcontext()
        ids, queue = [run.claim.id for run in part], part[0].claim.queue
        return self._hook(
            task_id=None, task_ids=ids, name=name, queue=queue, attempt=None, metadata={}
        )

    async def _tell(self, call: _Call, run: Run, value: Any) -> None:
        """Conclude a run with its value or its exception, unless somebody else has it by now."""
        outcome: Outcome = Release()
        if call.hand.holds(run.claim):
            trace = value.__traceback__ if isinstance(value, BaseException) else None
            try:
                if isinstance(value, BaseException):
                    raise value
                outcome = self._success(run, value)
            except BaseException as error:  # noqa: BLE001 - the batch's own
                outcome = await self._failed(run, error)
            await self._tell_finished(run)
            if isinstance(value, BaseException):  # it may be that of others too
                value.__traceback__ = trace
        del call.runs[run.claim.id]
        call.hand.decide(run.claim, outcome)
        self._finished(run, outcome)


def _goes_on(claim: Claim, hand: Hand) -> bool:
    """Is it to be in the next call? One that was cancelled is given back, and ends thereby."""
    return hand.holds(claim) and not claim.cancelled


def _function(batch: Batch, runs: Iterable[Run]) -> Registered:
    name = batch.task or next(iter(runs)).known.name
    function = registry.find(name)
    if function is None:
        raise ConfigurationError(f"the task {name!r} of a batch queue is not registered")
    return function


def _halves(part: list[Run]) -> Iterable[list[Run]]:
    """Both halves, the first one last, for it is next; the function may have changed its items."""
    for run in part:
        run.call = decode(run.claim.body)
    middle = (len(part) + 1) // 2
    return part[middle:], part[:middle]


__all__ = ["BatchInvoker"]
