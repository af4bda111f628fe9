"""Runs each task within its enqueue, in the caller's thread: for tests that want its effects.

A message is stored in memory, run, and settled at once, so arguments, results, errors, unique keys
and signals are those of every backend. One attempt is all there is, as with Django's own immediate
backend, and a delay is no reason to wait. What is meant for a batch waits for ``flush_batch``.
"""

import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Unpack

from django.tasks.base import TASK_REFRESH_ATTRS

from vtasks_asgi import lanes
from vtasks_asgi.backends.base import Item
from vtasks_asgi.backends.grouping import Callbacks
from vtasks_asgi.backends.memory import MemoryTaskBackend
from vtasks_asgi.conf import options
from vtasks_asgi.core.batch import BatchItem, batch_item
from vtasks_asgi.core.envelope import Call, decode
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.outcome import Release
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.groups import Group
from vtasks_asgi.inline import LEASE, WORKER, Inline
from vtasks_asgi.results import AnyResult
from vtasks_asgi.store.base import Claim, FullStore
from vtasks_asgi.tasks import Called


class ImmediateBackend(MemoryTaskBackend):
    """See Django's ``ImmediateBackend``, whose place it takes; OPTIONS are those of the memory."""

    def make_store(self) -> FullStore:
        """There is nothing for a worker to do.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(
            f"TASKS[{self.alias!r}] runs each task within its enqueue, so it has no worker; use"
            " 'vtasks_asgi.backends.memory.MemoryTaskBackend' to run tasks later"
        )

    def enqueue_many(self, items: Iterable[Item]) -> list[AnyResult | None]:
        """Run these calls one after the other; the results tell how it went."""
        accepted = super().enqueue_many(items)
        lanes.run_here(partial(self._run, accepted))
        return accepted

    async def aenqueue_many(self, items: Iterable[Item]) -> list[AnyResult | None]:
        """``enqueue_many`` from a coroutine."""
        accepted = await super().aenqueue_many(items)
        await self._run(accepted)
        return accepted

    def group(self, items: Iterable[Called], **options: Unpack[Callbacks]) -> Group:
        """Run these calls one after the other, and what follows."""
        group, pushed = self._open_group(items, options)
        lanes.run_here(partial(self._run, pushed.stored))
        return group

    async def agroup(self, items: Iterable[Called], **options: Unpack[Callbacks]) -> Group:
        """``group`` from a coroutine."""
        group, pushed = await self._aopen_group(items, options)
        await self._run(pushed.stored)
        return group

    # -- batch queues

    @property
    def pending_batches(self) -> dict[str, list[BatchItem]]:
        """What has been gathered for each batch queue; queues without any are empty lists."""
        pending = self.memory.pending
        for queue, items in pending.items():
            there = self.memory.lookup_sync([item["id"] for item in items])
            # Those rolled back are gone, those debounced have other arguments by now.
            items[:] = [batch_item(id, queue, decode(each.body)) for id, each in there.items()]
        return pending

    def flush_batch(self, queue_name: str) -> list[AnyResult]:
        """Run what was gathered for this queue, as its worker would, however little it is.

        What the worker would put back without an attempt waits for the next flush.

        Returns:
            the result of each message.

        Raises:
            Exception: what the first message that failed has raised; the others have run.
            ConfigurationError: the queue's task is not registered.
        """
        return lanes.run_here(partial(self.aflush_batch, queue_name))

    async def aflush_batch(self, queue_name: str) -> list[AnyResult]:
        """``flush_batch`` from a coroutine."""
        items = self.pending_batches.pop(queue_name, [])
        claims = [claim for item in items if (claim := self._last_claim(item["id"]))]
        followed: deque[AnyResult] = deque()
        inline = self._inline(followed)
        ran = await inline.run_batch(options().batch_queues[queue_name], claims) if claims else []
        if waiting := {each.claim.id for each in ran if isinstance(each.outcome, Release)}:
            self.memory.pending[queue_name] += [item for item in items if item["id"] in waiting]
        await self._run(followed)
        for each in ran:
            if each.error is not None:
                raise each.error
        return [result for each in ran if (result := inline.result(each))]

    def flush_batches(self) -> list[AnyResult]:
        """``flush_batch`` for every queue that has gathered anything."""
        return lanes.run_here(self.aflush_batches)

    async def aflush_batches(self) -> list[AnyResult]:
        """``flush_batches`` from a coroutine."""
        flushed = [await self.aflush_batch(queue) for queue in list(self.pending_batches)]
        return [result for results in flushed for result in results]

    # -- running

    async def _run(self, accepted: Iterable[AnyResult | None]) -> None:
        waiting = deque(filter(None, accepted))  # None for a duplicate of a unique task
        while waiting:
            result = waiting.popleft()
            if result.task.queue_name in options().batch_queues:
                self._gather(result)
            elif claim := self._last_claim(result.id):
                inline = self._inline(waiting)
                if now := inline.result(await inline.run(claim)):
                    for name in TASK_REFRESH_ATTRS:
                        object.__setattr__(result, name, getattr(now, name))

    def _gather(self, result: AnyResult) -> None:
        queue = result.task.queue_name
        items = self.memory.pending[queue]
        if all(item["id"] != result.id for item in items):
            call = Call(result.task.module_path, result.args, result.kwargs, 0.0)
            items.append(batch_item(result.id, queue, call))

    def _last_claim(self, id: str) -> Claim | None:
        """The message in hand as if for its last attempt: failing once is failing for good."""
        claim = self.memory.take(id, worker=WORKER, lease=LEASE)
        return claim and replace(claim, attempt=sys.maxsize)

    def _inline(self, followed: deque[AnyResult]) -> Inline:
        """What is enqueued because of the ends of others is added to ``followed``."""

        async def announce(message: Message) -> None:
            await self.announce(message)
            if result := self._as_result(message):
                followed.append(result)

        return Inline(self, self.memory, self.clock.now, announce)
