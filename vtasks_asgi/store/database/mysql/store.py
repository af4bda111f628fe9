"""The store on MySQL 8 and MariaDB: a few threads, a connection each, shared transactions.

Invariant: what waits for other people's locks (pushes of unique keys) and what must never wait
(claims, settlements, leases) do not share a connection.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

from django.db import connections, transaction

from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.outcome import Release, Retry
from vtasks_asgi.store.base import (
    Claim,
    Claimed,
    QueueStats,
    Receipt,
    Record,
    Settled,
    Settlement,
    State,
    Ticked,
    Ticks,
    limited,
)
from vtasks_asgi.store.control import Cancellation, Paused
from vtasks_asgi.store.database.mysql import consume, control, inspect, push
from vtasks_asgi.store.database.mysql.grouping import MySQLGroups, nothing
from vtasks_asgi.store.database.mysql.link import mapped_errors
from vtasks_asgi.store.database.mysql.step import Step
from vtasks_asgi.store.database.mysql.watcher import Watcher
from vtasks_asgi.store.database.mysql.worker import Work, Worker, patiently
from vtasks_asgi.store.database.pace import Paces
from vtasks_asgi.store.database.pauses import QUEUE, TASK
from vtasks_asgi.store.database.turns import Turns
from vtasks_asgi.store.doorbell import Doorbell
from vtasks_asgi.store.group_commit import GroupCommit

#: Seconds that closing waits for a server which does not answer.
CLOSE_LIMIT = 20.0


class Crew:
    """The threads of an open store: at most one connection each."""

    def __init__(self, alias: str, doorbell: Doorbell) -> None:
        self.producer = Worker(alias, "producer")
        self.consumer = Worker(alias, "consumer")
        self.reader = Worker(alias, "reader", share=1)
        self.keeper = Worker(alias, "keeper")
        self.watcher = Watcher(alias, doorbell, self.keeper)
        self.members = (self.producer, self.consumer, self.reader, self.keeper, self.watcher)

    def start(self) -> None:
        for member in self.members:
            member.start()

    def close(self) -> None:
        """Blocks until each has finished what it had in hand, or for ``CLOSE_LIMIT``."""
        for member in self.members:
            member.finish()
        deadline = time.monotonic() + CLOSE_LIMIT
        for member in self.members:
            member.join(max(0.0, deadline - time.monotonic()))


class MySQLStore(MySQLGroups):
    """See ``store.base``. ``alias`` names the database in Django's DATABASES."""

    def __init__(self, alias: str = "default", *, dead_letter_cap: int = 1000) -> None:
        self._alias = alias
        self._cap = dead_letter_cap
        self._doorbell = Doorbell()
        self._heard: dict[str, int] = {}
        self._turns = Turns()
        self._paces: defaultdict[str, Paces] = defaultdict(Paces)
        self._crew: Crew | None = None
        self._pushes = GroupCommit(self._push_group)

    # -- opening and closing

    async def open(self) -> None:
        if self._crew is not None:
            return
        crew = Crew(self._alias, self._doorbell)
        crew.start()
        try:
            await crew.consumer.submit(consume.check_tables)
        except BaseException:
            await asyncio.to_thread(crew.close)
            raise
        self._crew = crew

    async def aclose(self) -> None:
        crew, self._crew = self._crew, None
        if crew is not None:
            await asyncio.to_thread(crew.close)

    @property
    def _open(self) -> Crew:
        if self._crew is None:
            raise StoreUnavailable("the store is not open")
        return self._crew

    # -- producing

    async def push(self, messages: Sequence[Message]) -> list[Receipt]:
        return await self._pushes.commit(messages)

    def _push_group(self, messages: list[Message]) -> "asyncio.Future[list[Receipt]]":
        written = self._open.producer.submit(lambda step: push.push(step, messages))
        queues = {message.queue for message in messages}
        written.add_done_callback(lambda _: self._doorbell.ring(queues))
        return written

    def push_sync(self, messages: Sequence[Message]) -> list[Receipt]:
        ring = partial(self._doorbell.ring, {message.queue for message in messages})
        return self._produce(lambda step: push.push(step, messages), ring)

    async def ticks(self, schedules: Sequence[str]) -> Ticks:
        return await self._read(lambda step: Ticks(step.now, inspect.ticks(step, schedules)))

    async def push_tick(self, schedule: str, at: float, message: Message | None) -> Ticked:
        work = partial(push.push_tick, schedule=schedule, at=at, message=message)
        fired = await self._open.producer.submit(work)
        if fired is Ticked.FIRED and message is not None:
            self._doorbell.ring({message.queue})
        return fired

    # -- consuming

    async def claim(self, queue: str, limit: int, *, worker: str, lease: float) -> Claimed:
        self._heard[queue] = self._doorbell.listen(queue)
        claim = partial(consume.claim, queue=queue, limit=limit, worker=worker, lease=lease)
        paces, turns = self._paces[queue], self._turns
        return await self._open.consumer.submit(partial(claim, paces=paces, turns=turns))

    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        return self._open.keeper.call(lambda step: consume.extend(step, claims, lease))

    async def settle(self, settlements: Sequence[Settlement]) -> Settled:
        settled = await self._open.consumer.submit(
            lambda step: consume.settle(step, settlements, self._cap)
        )
        back = {s.claim.queue for s in settlements if isinstance(s.outcome, Retry | Release)}
        back.update(queue for queue, _ in limited(settlements))
        self._doorbell.ring(back)
        return settled

    async def save(self, claim: Claim) -> bool:
        return await self._open.consumer.submit(lambda step: consume.save(step, claim))

    def settle_sync(self, settlements: Sequence[Settlement]) -> Settled:
        with mapped_errors(), transaction.atomic(using=self._alias):
            with connections[self._alias].cursor() as cursor:
                settled = consume.settle(Step.begin(cursor), settlements, self._cap)
            transaction.on_commit(self._doorbell.ring, using=self._alias, robust=True)
        return settled

    async def reclaim(self, queue: str, limit: int, *, worker: str, lease: float) -> list[Claim]:
        return await self._open.consumer.submit(
            partial(
                consume.reclaim,
                queue=queue,
                limit=limit,
                worker=worker,
                lease=lease,
                paces=self._paces[queue],
            )
        )

    async def wait(self, queues: Sequence[str], timeout: float) -> None:
        self._open  # noqa: B018 - raises when the store is not open
        heard = {queue: self._heard.get(queue, -1) for queue in queues}
        await self._doorbell.wait(heard, timeout)

    # -- inspecting

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        return await self._read(lambda step: inspect.stats(step, queues))

    async def known_queues(self) -> list[str]:
        return await self._read(inspect.known)

    async def lookup(self, ids: Sequence[str]) -> dict[str, Record]:
        return await self._read(lambda step: inspect.lookup(step, ids))

    def lookup_sync(self, ids: Sequence[str]) -> dict[str, Record]:
        return self._look_here(lambda step: inspect.lookup(step, ids))

    async def browse(
        self, queue: str, state: State, *, limit: int, cursor: str | None = None
    ) -> tuple[list[Record], str | None]:
        if limit < 1:
            raise ValueError("limit must be at least 1")
        return await self._read(
            lambda step: inspect.browse(step, queue, state, limit=limit, cursor=cursor)
        )

    async def requeue(self, ids: Sequence[str]) -> int:
        count = await self._open.producer.submit(lambda step: inspect.requeue(step, ids))
        self._doorbell.ring()
        return count

    async def purge(self, queue: str, state: State, *, before: float | None = None) -> int:
        """In many steps: claims and settlements take their turns in between."""
        if state is State.RUNNING:
            raise ValueError("running messages cannot be purged")
        deleted, more = 0, True
        while more:
            some, more = await self._open.consumer.submit(
                lambda step: inspect.purge(step, queue, state, before)
            )
            deleted += some
        return deleted

    async def prune(self, limit: int) -> int:
        return await self._open.consumer.submit(lambda step: inspect.prune(step, limit))

    # -- cancelling and pausing

    async def cancel(self, ids: Sequence[str]) -> Cancellation:
        return await self._open.producer.submit(lambda step: control.cancel(step, ids, self._cap))

    def cancel_sync(self, ids: Sequence[str]) -> Cancellation:
        return self._produce(lambda step: control.cancel(step, ids, self._cap))

    def cancelled(self, claims: Sequence[Claim]) -> list[Claim]:
        return self._open.keeper.call(lambda step: control.cancelled(step, claims))

    async def pause(self, queue: str, until: float | None = None) -> None:
        await self._open.consumer.submit(lambda step: control.pause(step, QUEUE, queue, until))

    async def resume(self, queue: str) -> bool:
        was = await self._open.consumer.submit(lambda step: control.resume(step, QUEUE, queue))
        self._doorbell.ring({queue})
        return was

    async def pause_task(self, task: str, until: float | None = None) -> None:
        await self._open.consumer.submit(lambda step: control.pause(step, TASK, task, until))

    async def resume_task(self, task: str) -> bool:
        return await self._open.consumer.submit(lambda step: control.resume(step, TASK, task))

    async def paused(self) -> Paused:
        return await self._read(control.paused)

    async def paused_tasks(self) -> set[str]:
        return set((await self.paused()).tasks)

    # -- helpers

    def _produce[T](self, work: Work[T], committed: Callable[[], None] = nothing) -> T:
        """In the caller's transaction if there is one; else through the producer, if it runs."""
        if connections[self._alias].in_atomic_block:
            return self._here(work, committed)
        if self._crew is None:
            return self._renewed(lambda: self._here(work, committed))
        result = self._crew.producer.call(work)
        committed()
        return result

    def _renewed[T](self, attempt: Callable[[], T]) -> T:
        """Outside a transaction: once more on a new connection, if the old one was broken.

        Django itself renews connections between requests only, and not every caller has any.
        """
        try:
            return patiently(attempt)
        except StoreUnavailable:
            connection = connections[self._alias]
            connection.close_if_unusable_or_obsolete()
            if connection.connection is not None:
                raise
        return patiently(attempt)

    def _here[T](self, work: Work[T], committed: Callable[[], None]) -> T:
        """On the caller's own connection."""
        with mapped_errors(), transaction.atomic(using=self._alias):
            with connections[self._alias].cursor() as cursor:
                result = work(Step.begin(cursor))
            transaction.on_commit(committed, using=self._alias, robust=True)
        return result

    async def _read[T](self, query: Work[T]) -> T:
        """On the reader's connection: who counts a long queue hinders nobody."""
        return await self._open.reader.submit(query)
