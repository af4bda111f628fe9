"""Pushes that travel together: whatever one loop pushes while a write is in flight goes next.

From threads they take the same way, where a loop has the store open: at 2 ms from the server one
blocking connection carries 500 a second for all threads together.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.message import Message
from vtasks_asgi.store.base import Receipt, by_queue
from vtasks_asgi.store.doorbell import Doorbell
from vtasks_asgi.store.group_commit import Answer, GroupCommit
from vtasks_asgi.store.valkey import commands, layout
from vtasks_asgi.store.valkey.blocking import Blocking
from vtasks_asgi.store.valkey.client import Client
from vtasks_asgi.store.valkey.commands import Parcel
from vtasks_asgi.store.valkey.keys import Keys, Names
from vtasks_asgi.store.valkey.wire import Request, command

#: Seconds between two reminders that a queue exists, for servers that lost their data.
REGISTER_EVERY = 60.0
#: Seconds a thread waits for a busy loop to begin with its push, before it goes another way.
PICK_UP = 0.1
#: Writes to one queue in flight at once.
FLIGHTS = 2

type Call = Callable[[Request], Awaitable[Any]]


class Registry:
    """Which queues this process has noted in the set of all queues, where lookups find them."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._noted: dict[str, float] = {}

    def due(self, queue: str) -> Request | None:
        """What has to be sent before a push to this queue, if anything."""
        if time.monotonic() - self._noted.get(queue, -REGISTER_EVERY) < REGISTER_EVERY:
            return None
        return command(self._names.queues_slot, "SADD", self._names.queues, layout.name(queue))

    def done(self, queue: str) -> None:
        """It was sent."""
        self._noted[queue] = time.monotonic()


class Pusher:
    """The pushes of one loop. An error of one queue reaches only who pushed to it."""

    def __init__(
        self, client: Client, names: Names, registry: Registry, doorbell: Doorbell
    ) -> None:
        self._client = client
        self._call = client.call
        self._names = names
        self._registry = registry
        self._doorbell = doorbell
        self._groups: dict[str, GroupCommit[Parcel, Receipt]] = {}
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[list[Receipt]]] = set()

    async def push(self, messages: Sequence[Message]) -> list[Receipt]:
        if len(messages) == 1 and (group := self._groups.get(messages[0].queue)) is not None:
            return await group.enter([commands.parcel(messages[0])])
        groups = by_queue(messages)
        pushes = [self._push(queue, some) for queue, some in groups.items()]
        answers = [await pushes[0]] if len(pushes) == 1 else await asyncio.gather(*pushes)
        return in_order(messages, dict(zip(groups, answers, strict=True)))

    async def register(self, queue: str) -> None:
        """Let those who look for an id know of this queue."""
        if (request := self._registry.due(queue)) is not None:
            await self._call(request)
            self._registry.done(queue)

    async def _push(self, queue: str, messages: Sequence[Message]) -> list[Receipt]:
        group = self._groups.get(queue)
        if group is None:
            post = partial(self._post, queue)
            group = GroupCommit(partial(self._write, queue), post=post, flights=FLIGHTS)
            self._groups[queue] = group
        if len(messages) <= commands.CHUNK:
            return await group.commit(commands.parcels(messages))
        return await self._push_many(group, messages)

    async def _push_many(
        self, group: GroupCommit[Parcel, Receipt], messages: Sequence[Message]
    ) -> list[Receipt]:
        """While one part is written the next is packed, and the loop gets its turn in between."""
        receipts: list[Receipt] = []
        before: asyncio.Task[list[Receipt]] | None = None
        try:
            for start in range(0, len(messages), commands.CHUNK):
                some = commands.parcels(messages[start : start + commands.CHUNK])
                task = self._loop.create_task(group.commit(some))
                if before is not None:
                    receipts += await before
                before = task
            return receipts + await before if before is not None else receipts
        finally:
            if before is not None:
                before.cancel()

    def _post(self, queue: str, parcels: list[Parcel], answer: Answer[Receipt]) -> bool:
        """The common case without a task: one call to a server that is connected."""
        if self._registry.due(queue) is not None:
            return False
        chunks = list(commands.chunks(parcels))
        if len(chunks) != 1:
            return False
        request = commands.push(self._names.queue(queue), parcels)
        return self._client.post(request, partial(self._posted, queue, parcels, answer))

    def _posted(
        self, queue: str, parcels: list[Parcel], answer: Answer[Receipt], reply: Any
    ) -> None:
        if not isinstance(reply, Exception):
            self._doorbell.ring({queue})
            answer(commands.receipts(parcels, reply))
        elif isinstance(reply, StoreUnavailable):
            answer(reply)
        else:  # refused, and so not executed: the long way knows what to do about it
            task = self._loop.create_task(self._write(queue, parcels))
            self._tasks.add(task)
            task.add_done_callback(partial(self._rewritten, answer))

    def _rewritten(self, answer: Answer[Receipt], task: "asyncio.Task[list[Receipt]]") -> None:
        self._tasks.discard(task)
        if task.cancelled():
            answer(StoreUnavailable("the store was closed"))
        else:
            answer(task.exception() or task.result())

    async def _write(self, queue: str, parcels: list[Parcel]) -> list[Receipt]:
        await self.register(queue)
        keys = self._names.queue(queue)
        chunks = list(commands.chunks(parcels))
        requests = _pushes(keys, chunks)
        if len(requests) == 1:
            replies = [await self._call(requests[0])]
        else:
            replies = await asyncio.gather(*map(self._call, requests))
        self._doorbell.ring({queue})
        return _receipts(chunks, replies)

    # -- for threads

    def from_thread(self, messages: Sequence[Message], timeout: float) -> list[Receipt] | None:
        """Push from another thread; None when the loop did not even begin, being busy or closed.

        Raises:
            StoreUnavailable: it began, and there was no answer in ``timeout`` seconds.
        """
        future: Future[list[Receipt]] = Future()
        try:
            self._loop.call_soon_threadsafe(self._begin, messages, future)
        except RuntimeError:
            return None
        with suppress(TimeoutError):
            return future.result(PICK_UP)
        if future.cancel():
            return None
        try:
            return future.result(timeout)
        except TimeoutError:
            raise StoreUnavailable(f"Valkey did not answer within {timeout:g} s") from None

    def _begin(self, messages: Sequence[Message], future: "Future[list[Receipt]]") -> None:
        if future.set_running_or_notify_cancel():
            task = self._loop.create_task(self.push(messages))
            self._tasks.add(task)
            task.add_done_callback(partial(self._end, future))

    def _end(self, future: "Future[list[Receipt]]", task: "asyncio.Task[list[Receipt]]") -> None:
        self._tasks.discard(task)
        if task.cancelled():
            future.set_exception(StoreUnavailable("the store was closed"))
        elif error := task.exception():
            future.set_exception(error)
        else:
            future.set_result(task.result())


def push_blocking(
    blocking: Blocking,
    names: Names,
    registry: Registry,
    doorbell: Doorbell,
    messages: Sequence[Message],
) -> list[Receipt]:
    """Push on the blocking connection."""
    receipts: dict[str, list[Receipt]] = {}
    for queue, some in by_queue(messages).items():
        keys, due = names.queue(queue), registry.due(queue)
        chunks = list(commands.chunks(commands.parcels(some)))
        requests = [*filter(None, [due]), *_pushes(keys, chunks)]
        replies = blocking.calls(requests)
        if due is not None:
            registry.done(queue)
        doorbell.ring({queue})
        receipts[queue] = _receipts(chunks, replies[-len(chunks) :])
    return in_order(messages, receipts)


def _pushes(keys: Keys, chunks: Sequence[list[Parcel]]) -> list[Request]:
    return [commands.push(keys, chunk, of=len(chunks)) for chunk in chunks]


def _receipts(chunks: Sequence[list[Parcel]], replies: Sequence[Any]) -> list[Receipt]:
    if len(chunks) == 1:
        return commands.receipts(chunks[0], replies[0])
    pairs = zip(chunks, replies, strict=True)
    return [receipt for pair in pairs for receipt in commands.receipts(*pair)]


def in_order(messages: Sequence[Message], receipts: dict[str, list[Receipt]]) -> list[Receipt]:
    """Receipts in the order of the messages they are for."""
    if len(receipts) == 1:
        return next(iter(receipts.values()))
    each = {queue: iter(some) for queue, some in receipts.items()}
    return [next(each[message.queue]) for message in messages]
