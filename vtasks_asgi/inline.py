"""Runs messages where the caller is, one after the other: for tests.

Outcomes, results, retries and signals are those of a worker, for the invoker is a worker's. But
synchronous functions run in the caller's thread, and so in the caller's transaction.
"""

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from django.tasks.exceptions import TaskResultDoesNotExist

from vtasks_asgi import lanes, registry, results
from vtasks_asgi.conf import options
from vtasks_asgi.core.batch import Batch, BatchItem, batch_item, portions
from vtasks_asgi.core.envelope import MAX_DECODED, Call, decode, encode
from vtasks_asgi.core.errors import MessageUndecodable
from vtasks_asgi.core.message import new_id
from vtasks_asgi.core.outcome import (
    Dead,
    Done,
    Outcome,
    Release,
    Retry,
    dump_history,
    load_history,
)
from vtasks_asgi.crew import Crew
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.invoke import Invoker
from vtasks_asgi.results import AnyResult
from vtasks_asgi.run import Run
from vtasks_asgi.runtime.events import hub
from vtasks_asgi.store.base import Claim, FullStore, Record, Settlement, State

if TYPE_CHECKING:
    from vtasks_asgi.backends.base import VTasksBackend

#: The worker that attempts are recorded under, and how long it holds what it claims (seconds).
WORKER, LEASE = "inline", 3600.0


@dataclass(frozen=True, slots=True)
class Ran:
    """One attempt: the claim, its outcome, and what the task raised."""

    claim: Claim
    outcome: Outcome
    error: BaseException | None = None


class _Caller(Crew):
    """The caller's thread does it, and keeps its connections as they are."""

    async def run[T](self, call: Callable[[], T]) -> T:
        return await lanes.in_caller_thread(partial(lanes.fit_for_a_future, call))


class _Invoker(Invoker):
    """Keeps what tasks raise, and sends their functions to the caller's thread."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._crew = _Caller()
        self.errors: dict[str, BaseException] = {}

    def _failure(self, run: Run, error: BaseException) -> Retry | Dead:
        self.errors[run.claim.token] = error
        return super()._failure(run, error)


class Inline:
    """Runs claims of ``store``, an open store of that backend; ``now`` is the store's time."""

    def __init__(
        self, backend: "VTasksBackend", store: FullStore, now: Callable[[], float]
    ) -> None:
        self._alias = backend.alias
        self._store = store
        self._now = now
        self._invoke = _Invoker(
            alias=backend.alias,
            sender=type(backend),
            worker=WORKER,
            events=hub,
            result_ttl=backend.result_ttl,
            max_rescues=options().max_rescues,
            max_result=backend.max_payload,
            now=now,
        )

    async def run(self, claim: Claim) -> Ran:
        """Run one message and settle it. A KeyboardInterrupt leaves here, once settled."""
        outcome, error = await self._outcome(claim)
        return await self._settled(Ran(claim, outcome, error))

    async def run_batch(self, batch: Batch, claims: Sequence[Claim]) -> list[Ran]:
        """Run the messages of a batch queue as few calls; all of a call share its outcome.

        Raises:
            ConfigurationError: a task is not registered; all is as it was.
        """
        ran, items = [], []
        for claim in claims:
            try:
                items.append(batch_item(claim.id, claim.queue, decode(claim.body)))
            except MessageUndecodable:
                ran.append(await self.run(claim))
        by_id = {claim.id: claim for claim in claims}
        calls = list(portions(batch, items))
        if unknown := [task for task, _ in calls if registry.find(task) is None]:
            await self._store.settle([Settlement(claim, Release()) for claim in claims])
            raise ConfigurationError(f"the task {unknown[0]!r} of a batch is not registered")
        for task, portion in calls:
            members = [by_id[item["id"]] for item in portion]
            outcome, error = await self._outcome(self._joint_claim(task, portion, members))
            shared = [Ran(claim, _share(outcome, claim), error) for claim in members]
            ran += [await self._settled(each) for each in shared]
        return ran

    def result(self, ran: Ran) -> AnyResult | None:
        """The message's result after that attempt; None if its body cannot be read.

        Raises:
            ConfigurationError: its task is not registered, so it has not run.
        """
        claim, outcome = ran.claim, ran.outcome
        record = Record(
            claim.id, claim.queue, State.READY, claim.body, claim.priority, claim.run_at
        )
        record.history = claim.history if isinstance(outcome, Release) else outcome.history
        if isinstance(outcome, Release | Retry):
            record.run_at = self._now() + outcome.delay
        else:
            record.state = State.DONE if isinstance(outcome, Done) else State.DEAD
            record.finished_at = self._now()
            record.value = outcome.value if isinstance(outcome, Done) else None
        try:
            return results.stored(record, self._alias)
        except MessageUndecodable:
            return None
        except TaskResultDoesNotExist as error:
            raise ConfigurationError(str(error)) from error

    async def _outcome(self, claim: Claim) -> tuple[Outcome, BaseException | None]:
        # A task of its own, so that what it sets in its context stays there.
        context = contextvars.copy_context()
        context.run(lanes.current_lane.set, lanes.CallersLane())
        outcome = await asyncio.create_task(self._invoke(claim), context=context)
        return outcome, self._invoke.errors.pop(claim.token, None)

    async def _settled(self, ran: Ran) -> Ran:
        await self._store.settle([Settlement(ran.claim, ran.outcome)])
        if isinstance(ran.error, KeyboardInterrupt):
            raise ran.error
        return ran

    def _joint_claim(self, task: str, items: list[BatchItem], members: Sequence[Claim]) -> Claim:
        call = Call(task, [items], {}, self._now())
        attempt = max(claim.attempt for claim in members)
        body = encode(call, max_size=MAX_DECODED)
        return Claim(new_id(), members[0].queue, body, 0, token=new_id(), attempt=attempt)


def _share(outcome: Outcome, claim: Claim) -> Outcome:
    """A joint claim's outcome as that of one of its messages."""
    if isinstance(outcome, Release):
        return outcome
    attempts = load_history(claim.history) + load_history(outcome.history)
    history = dump_history(attempts)
    if isinstance(outcome, Done):
        return Done(history, None, outcome.ttl)
    return replace(outcome, history=history)


__all__ = ["LEASE", "WORKER", "Inline", "Ran"]
