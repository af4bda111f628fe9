"""The Valkey store: scripts that each do a verb for many messages, and pushes that travel together.

Three connections a process at the most, to each server: one shared by everything awaited, one that
hears the doorbell, and one for blocking calls (renewing leases, enqueueing from threads).
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.outcome import Release, Retry
from vtasks_asgi.store.base import (
    Claim,
    Claimed,
    Receipt,
    Settled,
    Settlement,
    Ticked,
    Ticks,
)
from vtasks_asgi.store.doorbell import Doorbell
from vtasks_asgi.store.valkey import commands, selfcheck, ticks
from vtasks_asgi.store.valkey.blocking import Blocking
from vtasks_asgi.store.valkey.client import Client
from vtasks_asgi.store.valkey.dial import EndpointDialer
from vtasks_asgi.store.valkey.grouping import ValkeyGroups
from vtasks_asgi.store.valkey.keys import Keys, Names
from vtasks_asgi.store.valkey.pushing import Registry, push_blocking
from vtasks_asgi.store.valkey.session import Session
from vtasks_asgi.store.valkey.url import Endpoint, Kind
from vtasks_asgi.store.valkey.wire import Request, command

if TYPE_CHECKING:
    from valkey.asyncio import ConnectionPool

logger = logging.getLogger("vtasks_asgi")

#: Seconds any call may take before it fails.
TIMEOUT = 3.0
CONNECTIONS = 3


class ValkeyStore(ValkeyGroups):
    """See ``store.base``.

    Args:
        endpoint: where the data is.
        prefix: of every key, ending with a colon.
        timeout: seconds that bound every call.
        dead_letter_cap: kept per queue.
        pool: the application's; what is awaited uses connections of it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        prefix: str = "vt:",
        timeout: float = TIMEOUT,
        dead_letter_cap: int = 1000,
        pool: "ConnectionPool | None" = None,
    ) -> None:
        super().__init__(Names(prefix), Blocking(endpoint, timeout), dead_letter_cap)
        self._endpoint = endpoint
        self._timeout = timeout
        self._pool = pool
        self._doorbell = Doorbell()
        self._heard: dict[str, int] = {}
        self._registry = Registry(self._names)
        self._session: Session | None = None

    # -- opening and closing

    async def open(self) -> None:
        if self._session is not None and self._session.is_ours:
            return
        session = self._new_session()
        try:
            await session.call(command(self._names.queues_slot, "PING"))
            await session.call(ticks.read(self._names, []))
            warnings = await selfcheck.warnings(session.call, self._names)
        except BaseException:
            await session.aclose()
            raise
        self._session = session
        logger.info("At most %d connections of this process to %s", CONNECTIONS, self._endpoint)
        for warning in warnings:
            logger.warning("Valkey at %s: %s", self._endpoint, warning)

    def _new_session(self) -> Session:
        own = EndpointDialer(self._endpoint, self._timeout)
        if self._pool is None:
            client = Client(self._endpoint, own, self._timeout)
        else:
            # The whole driver is 11 MiB of modules; without a pool only its parser is needed.
            from vtasks_asgi.store.valkey.pool import POOL, PoolDialer  # noqa: PLC0415

            lent = PoolDialer(self._pool, self._endpoint, self._timeout)
            client = Client(POOL, lent, self._timeout)
        session = Session(client, self._names, self._registry, self._doorbell)
        if self._endpoint.kind is Kind.SENTINEL and self._pool is None:
            session.follow(self._endpoint, own, self._blocking)
        return session

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None and session.is_ours:
            await session.aclose()
        self._blocking.close()

    @property
    def _open_session(self) -> Session:
        if self._session is None or not self._session.is_ours:
            raise StoreUnavailable("the store is not open")
        return self._session

    def _require_open(self) -> None:
        self._open_session  # noqa: B018 - raises when the store is not open

    async def _call(self, request: Request) -> Any:
        return await self._open_session.call(request)

    def _ring(self, queues: Collection[str]) -> None:
        self._doorbell.ring(queues)

    async def _register(self, queue: str) -> None:
        await self._open_session.pusher.register(queue)

    # -- producing

    # No coroutine of its own around the other: each costs a caller of many half a microsecond.
    def push(self, messages: Sequence[Message]) -> Coroutine[Any, Any, list[Receipt]]:
        return self._open_session.pusher.push(messages)

    def push_sync(self, messages: Sequence[Message]) -> list[Receipt]:
        """Through the loop that has the store open, or else on the blocking connection."""
        session = self._session
        if session is not None and session.is_ours and session.is_elsewhere:
            receipts = session.pusher.from_thread(messages, 3 * self._timeout)
            if receipts is not None:
                return receipts
        return push_blocking(self._blocking, self._names, self._registry, self._doorbell, messages)

    async def ticks(self, schedules: Sequence[str]) -> Ticks:
        return await self._open_session.ticker.read(schedules)

    async def push_tick(self, schedule: str, at: float, message: Message | None) -> Ticked:
        return await self._open_session.ticker.push(schedule, at, message)

    # -- consuming

    async def claim(self, queue: str, limit: int, *, worker: str, lease: float) -> Claimed:
        session = self._open_session
        self._heard[queue] = self._doorbell.listen(queue)
        token = token_hex(8)
        keys = self._names.queue(queue)
        request = commands.claim(keys, limit, worker=worker, lease=lease, token=token)
        return commands.claimed(queue, token, await session.call(request))

    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        return self._among(claims, partial(commands.extend, lease=lease))

    def cancelled(self, claims: Sequence[Claim]) -> list[Claim]:
        return self._among(claims, commands.cancelled)

    def _among(
        self, claims: Sequence[Claim], ask: Callable[[Keys, Sequence[Claim]], Request]
    ) -> list[Claim]:
        """Those of the claims whose positions a script answers with."""
        self._open_session  # noqa: B018 - raises when the store is not open
        found: list[Claim] = []
        for queue, held in _by_queue((claim.queue, claim) for claim in claims).items():
            for start in range(0, len(held), commands.CHUNK):
                some = held[start : start + commands.CHUNK]
                positions = self._blocking.call(ask(self._names.queue(queue), some))
                found += [some[position - 1] for position in positions]
        return found

    async def settle(self, settlements: Sequence[Settlement]) -> Settled:
        self._open_session  # noqa: B018 - raises when the store is not open
        settled = Settled()
        groups = _by_queue((each.claim.queue, each) for each in settlements)
        if len(groups) == 1:
            await self._settle(*groups.popitem(), settled)
            return settled
        # All are done before an error is raised: what is settled again then was settled before.
        works = (self._settle(*group, settled) for group in groups.items())
        answers = await asyncio.gather(*works, return_exceptions=True)
        for error in filter(None, answers):
            raise error
        return settled

    async def _settle(self, queue: str, settlements: list[Settlement], settled: Settled) -> None:
        keys = self._names.queue(queue)
        for some in commands.rounds(settlements):
            request, order = commands.settle(keys, some, self._cap)
            lost, evicted, cancelled = await self._call(request)
            settled.lost += [order[position - 1] for position in lost]
            settled.cancelled += [order[position - 1] for position in cancelled]
            if evicted:
                settled.evicted[queue] = settled.evicted.get(queue, 0) + evicted
        if any(isinstance(each.outcome, Retry | Release) for each in settlements):
            self._doorbell.ring({queue})

    async def save(self, claim: Claim) -> bool:
        keys = self._names.queue(claim.queue)
        return bool(await self._call(commands.save(keys, claim)))

    async def reclaim(self, queue: str, limit: int, *, worker: str, lease: float) -> list[Claim]:
        token = token_hex(8)
        keys = self._names.queue(queue)
        request = commands.reclaim(keys, limit, worker=worker, lease=lease, token=token)
        return commands.reclaimed(queue, token, await self._call(request))

    async def wait(self, queues: Sequence[str], timeout: float) -> None:
        self._open_session.subscription.watch(queues)
        heard = {queue: self._heard.get(queue, -1) for queue in queues}
        await self._doorbell.wait(heard, timeout)


def _by_queue[T](pairs: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    groups: dict[str, list[T]] = {}
    for queue, each in pairs:
        groups.setdefault(queue, []).append(each)
    return groups
