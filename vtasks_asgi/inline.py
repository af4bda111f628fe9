"""Runs messages where the caller is, one after the other: for tests.

Outcomes, results, retries and signals are those of a worker, for the invoker is a worker's. But
synchronous functions run in the caller's thread, and so in the caller's transaction.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING, Any

from django.tasks.exceptions import TaskResultDoesNotExist

from vtasks_asgi import lanes, propagation, registry, results
from vtasks_asgi.batches import BatchInvoker
from vtasks_asgi.conf import options
from vtasks_asgi.core.batch import Batch
from vtasks_asgi.core.envelope import task_of
from vtasks_asgi.core.errors import MessageUndecodable
from vtasks_asgi.core.outcome import Dead, Done, Outcome, Release, Retry
from vtasks_asgi.crew import Crew
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.results import AnyResult
from vtasks_asgi.run import Run
from vtasks_asgi.runtime.collect import groups
from vtasks_asgi.runtime.events import hub
from vtasks_asgi.runtime.follow import Announce, Followers
from vtasks_asgi.runtime.sweep import Sweeper
from vtasks_asgi.store.base import Claim, FullStore, Record, Settlement, State

if TYPE_CHECKING:
    from vtasks_asgi.backends.base import VTasksBackend

#: The worker that attempts are recorded under, and how long it holds what it claims (seconds).
WORKER, LEASE = "inline", 3600.0
#: So many groups are more than a test has.
EVERY_GROUP = 10_000


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


class _Invoker(BatchInvoker):
    """Keeps what tasks raise, and sends their functions to the caller's thread."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._crew = _Caller()
        self.errors: dict[str, BaseException] = {}

    def _failure(self, run: Run, error: BaseException) -> Retry | Dead:
        self.errors[run.claim.token] = error
        return super()._failure(run, error)


class Inline:
    """Runs claims of ``store``, an open store of that backend; ``now`` is the store's time.

    ``announce`` is awaited with each message that is enqueued because others have ended.
    """

    def __init__(
        self,
        backend: "VTasksBackend",
        store: FullStore,
        now: Callable[[], float],
        announce: Announce | None = None,
    ) -> None:
        self._alias = backend.alias
        self._followers = Followers(
            store,
            now,
            announce or backend.announce,
            lambda messages: lanes.in_caller_thread(partial(store.push_sync, messages)),
        )
        self._sweeper = Sweeper(store, self._followers)
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
            joint=backend.joint(None),
            now=now,
            hook=propagation.hook(),
        )

    async def run(self, claim: Claim) -> Ran:
        """Run one message and settle it. A KeyboardInterrupt leaves here, once settled."""
        outcome = await _aside(self._invoke(claim))
        [ran] = await self._settled([self._ran(claim, outcome)])
        return ran

    async def run_batch(self, batch: Batch, claims: Sequence[Claim]) -> list[Ran]:
        """Run the messages of a batch queue as its worker would.

        Raises:
            ConfigurationError: a task is not registered; all is as it was.
        """
        portions = batched(claims, batch.count)
        calls = [group for portion in portions for group in await groups(batch, portion)]
        names = [batch.task or task_of(group[0].body) for group in calls]
        if unknown := [name for name in names if name and registry.find(name) is None]:
            await self._store.settle([Settlement(claim, Release()) for claim in claims])
            raise ConfigurationError(f"the task {unknown[0]!r} of a batch is not registered")
        ran = []
        for group in calls:
            hand = _Hand()
            rest = await _aside(self._invoke.batch(batch, group, hand))
            ran += await self._settled(
                [self._ran(claim, hand.outcomes.get(claim.id, rest)) for claim in group]
            )
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

    async def sweep(self) -> int:
        """Complete the groups whose members have ended without a run; how many there were."""
        return await self._sweeper.sweep(0.0, EVERY_GROUP)

    def _ran(self, claim: Claim, outcome: Outcome) -> Ran:
        return Ran(claim, outcome, self._invoke.errors.pop(claim.token, None))

    async def _settled(self, ran: list[Ran]) -> list[Ran]:
        ends = [Settlement(each.claim, each.outcome) for each in ran]
        await self._followers.before(ends)
        settled = await self._store.settle(ends)
        await self._followers.after(settled.cancelled)
        for each in ran:
            if isinstance(each.error, KeyboardInterrupt):
                raise each.error
        return ran


class _Hand:
    """The claims of one batch: nobody takes one over here."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}

    def holds(self, claim: Claim) -> bool:
        return claim.id not in self.outcomes

    def decide(self, claim: Claim, outcome: Outcome) -> None:
        self.outcomes[claim.id] = outcome


async def _aside[T](work: Coroutine[Any, Any, T]) -> T:
    """In a task of its own, so that what it sets in its context stays there."""
    context = contextvars.copy_context()
    context.run(lanes.current_lane.set, lanes.CallersLane())
    return await asyncio.create_task(work, context=context)


__all__ = ["LEASE", "WORKER", "Inline", "Ran"]
