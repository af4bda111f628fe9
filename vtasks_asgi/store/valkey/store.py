"""The Valkey store: scripts that each do a verb for many messages, and pushes that travel together.

Three connections a process at the most, to each server: one shared by everything awaited, one that
hears the doorbell, and one for blocking calls (renewing leases, enqueueing from threads).
"""

import asyncio
import os
import threading
import time
from collections.abc import Collection, Sequence
from functools import partial
from secrets import token_hex
from typing import Any

from vtasks_asgi.core.errors import StoreError, StoreUnavailable
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
    by_queue,
)
from vtasks_asgi.store.group_commit import GroupCommit
from vtasks_asgi.store.valkey import commands, layout, ticks
from vtasks_asgi.store.bell import Bell
from vtasks_asgi.store.valkey.blocking import Blocking
from vtasks_asgi.store.valkey.client import Client
from vtasks_asgi.store.valkey.commands import Parcel
from vtasks_asgi.store.valkey.doorbell import Doorbell
from vtasks_asgi.store.valkey.inspect import ValkeyInspector
from vtasks_asgi.store.valkey.keys import Names
from vtasks_asgi.store.valkey.url import Endpoint
from vtasks_asgi.store.valkey.wire import Request, command

#: Seconds any call may take before it fails.
TIMEOUT = 3.0
#: Seconds between two reminders that a queue exists, for servers that lost their data.
REGISTER_EVERY = 60.0


class _Open:
    """What exists only while a store is open: it belongs to one process and one loop."""

    def __init__(self, endpoint: Endpoint, timeout: float, bell: Bell, names: Names) -> None:
        self.pid = os.getpid()
        self.thread = threading.get_ident()
        self.loop = asyncio.get_running_loop()
        self.client = Client(endpoint, timeout)
        subscribe = partial(self.client.subscription, names.queues_slot)
        self.doorbell = Doorbell(bell, names, subscribe)
        self.pushes: dict[str, GroupCommit[Parcel, Receipt]] = {}

    async def aclose(self) -> None:
        await self.doorbell.aclose()
        await self.client.aclose()


class ValkeyStore(ValkeyInspector):
    """See ``store.base``. ``timeout`` in seconds bounds every call."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        prefix: str = "vt:",
        timeout: float = TIMEOUT,
        dead_letter_cap: int = 1000,
    ) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._timeout = timeout
        self._cap = dead_letter_cap
        self._names = Names(prefix)
        self._bell = Bell()
        self._heard: dict[str, int] = {}
        self._registered: dict[str, float] = {}
        self._blocking = Blocking(endpoint, timeout)
        self._opened: _Open | None = None

    # -- opening and closing

    async def open(self) -> None:
        if self._opened is not None and self._opened.pid == os.getpid():
            return
        opened = _Open(self._endpoint, self._timeout, self._bell, self._names)
        try:
            await opened.client.call(command(self._names.queues_slot, "PING"))
            await opened.client.call(ticks.read(self._names, []))
        except BaseException:
            await opened.aclose()
            raise
        self._opened = opened

    async def aclose(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None and opened.pid == os.getpid():
            await opened.aclose()
        self._blocking.close()

    @property
    def _live(self) -> _Open:
        if self._opened is None or self._opened.pid != os.getpid():
            raise StoreUnavailable("the store is not open")
        return self._opened

    async def _call(self, request: Request) -> Any:
        return await self._live.client.call(request)

    def _ring(self, queues: Collection[str]) -> None:
        self._bell.ring(queues)

    # -- producing

    async def push(self, messages: Sequence[Message]) -> list[Receipt]:
        opened = self._live
        groups = by_queue(messages)
        pushes = [self._push(opened, queue, some) for queue, some in groups.items()]
        answers = [await pushes[0]] if len(pushes) == 1 else await asyncio.gather(*pushes)
        return _in_order(messages, dict(zip(groups, answers, strict=True)))

    async def _push(self, opened: _Open, queue: str, messages: Sequence[Message]) -> list[Receipt]:
        group = opened.pushes.get(queue)
        if group is None:
            group = opened.pushes[queue] = GroupCommit(partial(self._write, queue))
        if len(messages) <= commands.CHUNK:
            return await group.commit(commands.parcels(messages))
        receipts: list[Receipt] = []
        for start in range(0, len(messages), commands.CHUNK):
            some = messages[start : start + commands.CHUNK]
            receipts += await group.commit(commands.parcels(some))
        return receipts

    async def _write(self, queue: str, parcels: list[Parcel]) -> list[Receipt]:
        await self._register(queue)
        keys = self._names.queue(queue)
        chunks = list(commands.chunks(parcels))
        replies = await self._calls(commands.push(keys, chunk) for chunk in chunks)
        self._bell.ring({queue})
        return [
            receipt
            for chunk, reply in zip(chunks, replies, strict=True)
            for receipt in commands.receipts(chunk, reply)
        ]

    async def _register(self, queue: str) -> None:
        """Let those who look for an id know of this queue."""
        if self._unregistered(queue):
            await self._call(self._registration(queue))
            self._registered[queue] = time.monotonic()

    def _unregistered(self, queue: str) -> bool:
        return time.monotonic() - self._registered.get(queue, -REGISTER_EVERY) >= REGISTER_EVERY

    def _registration(self, queue: str) -> Request:
        return command(self._names.queues_slot, "SADD", self._names.queues, layout.name(queue))

    def push_sync(self, messages: Sequence[Message]) -> list[Receipt]:
        """Through the loop that has the store open, or else on the blocking connection."""
        receipts: dict[str, list[Receipt]] = {}
        for queue, some in by_queue(messages).items():
            keys = self._names.queue(queue)
            requests = []
            if self._unregistered(queue):
                requests.append(self._registration(queue))
            chunks = list(commands.chunks(commands.parcels(some)))
            requests += [commands.push(keys, chunk) for chunk in chunks]
            replies = self._blocking.calls(requests)[-len(chunks) :]
            self._registered[queue] = time.monotonic()
            self._bell.ring({queue})
            receipts[queue] = [
                receipt
                for chunk, reply in zip(chunks, replies, strict=True)
                for receipt in commands.receipts(chunk, reply)
            ]
        return _in_order(messages, receipts)

    # -- ticks

    async def ticks(self, schedules: Sequence[str]) -> Ticks:
        reply = await self._call(ticks.read(self._names, schedules))
        for schedule, value in ticks.left_behind(reply):
            try:
                await self._carry_out(schedule, value)
            except StoreError:
                break  # it stays noted: whoever looks next tries again
        return ticks.known(schedules, reply)

    async def push_tick(self, schedule: str, at: float, message: Message | None) -> Ticked:
        answer = await self._call(ticks.record(self._names, schedule, at, message))
        while isinstance(answer, list):  # an earlier tick comes first
            await self._carry_out(layout.name(schedule), answer[0])
            answer = await self._call(ticks.record(self._names, schedule, at, message))
        if answer == b"late":
            return Ticked.LATE
        if message is None:
            return Ticked.SKIPPED
        refused = await self._fire(schedule, at, message)
        await self._call(ticks.forget(self._names, layout.name(schedule), ticks.stamped(at)))
        return Ticked.SKIPPED if refused and refused[0].holder else Ticked.FIRED

    async def _fire(self, schedule: str, at: float, message: Message) -> list[Receipt]:
        await self._register(message.queue)
        reply = await self._call(ticks.fire(self._names, schedule, at, message))
        self._bell.ring({message.queue})
        if reply == b"late":
            return []
        return commands.receipts(commands.parcels([message]), reply)

    async def _carry_out(self, schedule: bytes, value: bytes) -> None:
        """Do what a process that died had begun."""
        if (intended := ticks.read_intent(value)) is not None:
            await self._fire(layout.read_name(schedule), *intended)
        await self._call(ticks.forget(self._names, schedule, value))

    # -- consuming

    async def claim(self, queue: str, limit: int, *, worker: str, lease: float) -> Claimed:
        opened = self._live
        self._heard[queue] = self._bell.listen(queue)
        token = token_hex(8)
        keys = self._names.queue(queue)
        request = commands.claim(keys, limit, worker=worker, lease=lease, token=token)
        return commands.claimed(queue, token, await opened.client.call(request))

    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        self._live  # noqa: B018 - raises when the store is not open
        groups: dict[str, list[Claim]] = {}
        for claim in claims:
            groups.setdefault(claim.queue, []).append(claim)
        lost: list[Claim] = []
        for queue, held in groups.items():
            for start in range(0, len(held), commands.CHUNK):
                some = held[start : start + commands.CHUNK]
                positions = self._blocking.call(
                    commands.extend(self._names.queue(queue), some, lease)
                )
                lost += [some[position - 1] for position in positions]
        return lost

    async def settle(self, settlements: Sequence[Settlement]) -> Settled:
        self._live  # noqa: B018 - raises when the store is not open
        settled = Settled()
        groups: dict[str, list[Settlement]] = {}
        for settlement in settlements:
            groups.setdefault(settlement.claim.queue, []).append(settlement)
        await asyncio.gather(*(self._settle(*group, settled) for group in groups.items()))
        return settled

    async def _settle(self, queue: str, settlements: list[Settlement], settled: Settled) -> None:
        keys = self._names.queue(queue)
        for some in commands.rounds(settlements):
            request, order = commands.settle(keys, some, self._cap)
            lost, evicted = await self._call(request)
            settled.lost += [order[position - 1] for position in lost]
            if evicted:
                settled.evicted[queue] = settled.evicted.get(queue, 0) + evicted
        if any(isinstance(each.outcome, Retry | Release) for each in settlements):
            self._bell.ring({queue})

    async def reclaim(self, queue: str, limit: int, *, worker: str, lease: float) -> list[Claim]:
        token = token_hex(8)
        keys = self._names.queue(queue)
        request = commands.reclaim(keys, limit, worker=worker, lease=lease, token=token)
        return commands.reclaimed(queue, token, await self._call(request))

    async def wait(self, queues: Sequence[str], timeout: float) -> None:
        self._live.doorbell.watch(queues)
        heard = {queue: self._heard.get(queue, -1) for queue in queues}
        await self._bell.wait(heard, timeout)


def _in_order(messages: Sequence[Message], receipts: dict[str, list[Receipt]]) -> list[Receipt]:
    """Receipts in the order of the messages they are for."""
    if len(receipts) == 1:
        return next(iter(receipts.values()))
    each = {queue: iter(some) for queue, some in receipts.items()}
    return [next(each[message.queue]) for message in messages]
