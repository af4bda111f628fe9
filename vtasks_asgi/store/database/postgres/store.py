"""The PostgreSQL store: every verb is a plan, run on the async pool or on the caller's connection.

Connections of a process: those of the pool, one that listens, and one for the thread that renews
leases, which also serves a synchronous push made on the loop itself.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial

from django.db import connections, transaction

from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.core.message import Message
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
)
from vtasks_asgi.store.database.pace import Paces
from vtasks_asgi.store.database.postgres import claim, inspect, limits, lines, push, settle
from vtasks_asgi.store.database.postgres.admission import admit
from vtasks_asgi.store.database.postgres.bell import Listener, Ringer
from vtasks_asgi.store.database.postgres.connections import mapped_errors
from vtasks_asgi.store.database.postgres.controlling import PostgresControl
from vtasks_asgi.store.database.postgres.front import Front
from vtasks_asgi.store.database.postgres.plan import Plan
from vtasks_asgi.store.database.postgres.pool import POOL_SIZE
from vtasks_asgi.store.database.postgres.runner import Runner
from vtasks_asgi.store.database.postgres.take import take
from vtasks_asgi.store.database.turns import Turns
from vtasks_asgi.store.doorbell import Doorbell
from vtasks_asgi.store.group_commit import GroupCommit

#: Seconds between two looks of a waiting worker that cannot hear other processes.
DEAF_POLL = 0.25


class PostgresStore(PostgresControl):
    """See ``store.base``. ``alias`` names the database in Django's DATABASES.

    ``pool_size`` bounds the pool that this process shares; the first store to open it decides.
    """

    def __init__(
        self, alias: str = "default", *, dead_letter_cap: int = 1000, pool_size: int = POOL_SIZE
    ) -> None:
        self._alias = alias
        self._cap = dead_letter_cap
        self._runner = Runner(alias, pool_size=pool_size)
        self._doorbell = Doorbell()
        self._ringer = Ringer()
        self._listener: Listener | None = None
        self._heard: dict[str, int] = {}
        self._turns = Turns()
        self._paces: defaultdict[str, Paces] = defaultdict(Paces)
        self._fronts: defaultdict[str, Front] = defaultdict(Front)
        # Apart, for a unique key may have to wait for the end of somebody's transaction.
        self._pushes = GroupCommit(self._push_group)
        self._unique_pushes = GroupCommit(self._push_group)

    # -- opening and closing

    async def open(self) -> None:
        if self._runner.is_open:
            return
        await self._runner.open()
        if self._runner.direct:
            self._listener = Listener(self._alias, self._doorbell, self._ringer)
            await self._listener.start(self._notify)

    async def aclose(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.aclose()
        await self._runner.aclose()

    async def _notify(self, word: str) -> None:
        await self._runner.run(partial(push.notify, [word]))

    # -- producing

    async def push(self, messages: Sequence[Message]) -> list[Receipt]:
        if push.has_keys(messages):
            return await self._unique_pushes.commit(messages)
        return await self._pushes.commit(messages)

    async def _push_group(self, messages: list[Message]) -> list[Receipt]:
        queues = {message.queue for message in messages}
        words = self._ringer.words(queues)
        receipts = await self._runner.run(
            lambda: push.push(messages, words), transaction=push.has_keys(messages)
        )
        self._doorbell.ring(queues)
        return receipts

    def push_sync(self, messages: Sequence[Message]) -> list[Receipt]:
        """In the caller's transaction if there is one; never on the ORM's from within a loop."""
        make = partial(push.push, messages)
        return self._push_here(messages, make, steps=push.has_keys(messages))

    def _push_here[T](
        self, messages: Sequence[Message], make: Callable[[list[str]], Plan[T]], *, steps: bool
    ) -> T:
        queues = {message.queue for message in messages}
        ring = partial(self._doorbell.ring, queues)
        if self._runner.is_open and _in_loop():
            words = self._ringer.words(queues)
            stored = self._runner.run_in_thread(lambda: make(words))
            ring()
            return stored
        ours = self._ours()
        words = self._ringer.words(queues) if ours else []
        stored = self._runner.run_here(lambda: make(words), ours=ours, transaction=steps)
        tell = ring if ours else partial(self._announce, queues)
        transaction.on_commit(tell, using=self._alias, robust=True)
        return stored

    def _ours(self) -> bool:
        connection = connections[self._alias]
        with mapped_errors():  # it connects, if it has not yet
            return not connection.in_atomic_block and connection.get_autocommit()

    def _announce(self, queues: Collection[str]) -> None:
        """After the caller's commit."""
        self._forget(queues)
        self._doorbell.ring(queues)
        if words := self._ringer.words(queues):
            with suppress(StoreError):  # they will look by themselves
                self._runner.run_here(lambda: push.notify(words), ours=True)

    async def ticks(self, schedules: Sequence[str]) -> Ticks:
        return await self._runner.run(lambda: inspect.ticks(schedules))

    async def push_tick(self, schedule: str, at: float, message: Message | None) -> Ticked:
        queues = {message.queue} if message is not None else set()
        words = self._ringer.words(queues)
        ticked = await self._runner.run(
            lambda: push.push_tick(schedule, at, message, words), transaction=True
        )
        if ticked is Ticked.FIRED:
            self._doorbell.ring(queues)
        return ticked

    # -- consuming

    async def claim(self, queue: str, limit: int, *, worker: str, lease: float) -> Claimed:
        self._heard[queue] = self._doorbell.listen(queue)
        paces = self._paces[queue]
        if paces.ready.begin():
            claimed, left = await take(
                self._runner, self._fronts[queue], queue, limit, worker=worker, lease=lease
            )
            if left.lined:
                by_turns = partial(lines.claim, worker=worker, lease=lease, turns=self._turns)
                make = partial(by_turns, queue, limit, claimed)
                claimed = await self._runner.run(make, transaction=True)
            elif left.limited:
                claimed = await admit(
                    self._runner, queue, left.limited, claimed, worker=worker, lease=lease
                )
            if paces.ready.end():
                first = await self._runner.run(lambda: claim.first(queue, paces.first))
                paces.first = min(first, *(each.handle for each in claimed.claims), first)
            return claimed
        claims = await self._runner.run(
            lambda: claim.claim_later(queue, limit, since=paces.first, worker=worker, lease=lease)
        )
        if claims:
            paces.first = claims[-1].handle
        return Claimed(claims, paces.ready.pause)

    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        return self._runner.run_in_thread(lambda: claim.extend(claims, lease=lease))

    async def settle(self, settlements: Sequence[Settlement]) -> Settled:
        back = {s.claim.queue for s in settlements if settle.goes_back(s)}
        words = self._ringer.words(back) if back else []
        settled = await self._runner.run(
            lambda: settle.settle(settlements, self._cap, words),
            transaction=limits.among(settlements),
        )
        if back:
            self._forget(back)
            self._doorbell.ring(back)
        return settled

    async def save(self, claim: Claim) -> bool:
        return await self._runner.run(lambda: settle.save(claim))

    def settle_sync(self, settlements: Sequence[Settlement]) -> Settled:
        settled = self._runner.run_here(
            lambda: settle.settle(settlements, self._cap, []),
            ours=self._ours(),
            transaction=limits.among(settlements),
        )
        if back := {s.claim.queue for s in settlements if settle.goes_back(s)}:
            tell = partial(self._announce, back)
            transaction.on_commit(tell, using=self._alias, robust=True)
        return settled

    async def reclaim(self, queue: str, limit: int, *, worker: str, lease: float) -> list[Claim]:
        pace = self._paces[queue].expired
        if not pace.begin():
            return []
        claims, keys = await self._runner.run(
            lambda: claim.reclaim(queue, limit, worker=worker, lease=lease)
        )
        pace.end()
        if keys:
            await self._runner.run(lambda: limits.let_go(keys), transaction=True)
            self._doorbell.ring({queue})
        return claims

    async def wait(self, queues: Sequence[str], timeout: float) -> None:
        self._runner.require_open()
        heard = {queue: self._heard.get(queue, -1) for queue in queues}
        if self._listener is None or not self._listener.alive:
            timeout = min(timeout, DEAF_POLL)
        await self._doorbell.wait(heard, timeout)

    # -- inspecting

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        return await self._runner.run(lambda: inspect.stats(queues))

    async def known_queues(self) -> list[str]:
        return await self._runner.run(inspect.known)

    async def lookup(self, ids: Sequence[str]) -> dict[str, Record]:
        return await self._runner.run(lambda: inspect.lookup(ids))

    def lookup_sync(self, ids: Sequence[str]) -> dict[str, Record]:
        return self._sync(lambda: inspect.lookup(ids))

    async def browse(
        self, queue: str, state: State, *, limit: int, cursor: str | None = None
    ) -> tuple[list[Record], str | None]:
        return await self._runner.run(
            lambda: inspect.browse(queue, state, limit=limit, cursor=cursor)
        )

    async def requeue(self, ids: Sequence[str]) -> int:
        count, queues = await self._runner.run(lambda: inspect.requeue(ids), transaction=True)
        self._doorbell.ring(queues)
        for word in self._ringer.words(queues):
            await self._notify(word)
        return count

    async def purge(self, queue: str, state: State, *, before: float | None = None) -> int:
        """In chunks, each of them atomic, so that claims never wait for a large purge."""
        if state is State.RUNNING:
            raise ValueError("running messages cannot be purged")
        count, found = 0, inspect.PURGE_CHUNK
        while found == inspect.PURGE_CHUNK:
            found = await self._runner.run(lambda: inspect.purge(queue, state, before))
            count += found
        return count

    async def prune(self, limit: int) -> int:
        return await self._runner.run(lambda: inspect.prune(limit), transaction=True)

    # -- helpers

    def _forget(self, queues: Collection[str]) -> None:
        """What comes before the places where claims ended may be ready now."""
        for queue in queues:
            self._fronts[queue].forget()

    def _sync[T](self, make: Callable[[], Plan[T]], *, transaction: bool = False) -> T:
        """In the caller's transaction if there is one; never on the ORM's from within a loop."""
        if self._runner.is_open and _in_loop():
            return self._runner.run_in_thread(make)
        return self._runner.run_here(make, ours=self._ours(), transaction=transaction)


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
