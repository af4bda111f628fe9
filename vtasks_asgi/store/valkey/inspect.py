"""What onlookers ask of a Valkey store."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from itertools import batched
from typing import Any

from vtasks_asgi.store.base import QueueStats, Record, State
from vtasks_asgi.store.valkey import layout, records
from vtasks_asgi.store.valkey.blocking import Blocking
from vtasks_asgi.store.valkey.keys import Names
from vtasks_asgi.store.valkey.wire import Request, command, pack


class ValkeyInspector:
    """See ``store.base``. An id does not tell its queue, so all known queues are asked for it."""

    def __init__(self, names: Names, blocking: Blocking) -> None:
        self._names = names
        self._blocking = blocking
        self._prune_cursors: dict[str, bytes] = {}

    async def _call(self, request: Request) -> Any:
        raise NotImplementedError

    def _ring(self, queues: Collection[str]) -> None:
        raise NotImplementedError

    async def _calls(self, requests: Iterable[Request]) -> list[Any]:
        """The replies to all of these, sent together."""
        return await asyncio.gather(*map(self._call, requests))

    # -- the queues there are

    def _queues_request(self) -> Request:
        return command(self._names.queues_slot, "SMEMBERS", self._names.queues)

    async def _queues(self) -> list[str]:
        return in_order(await self._call(self._queues_request()))

    # -- reading

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        requests = [records.stats(self._names.queue(queue)) for queue in queues]
        replies = await self._calls(requests)
        return {queue: records.counted(r) for queue, r in zip(queues, replies, strict=True)}

    async def known_queues(self) -> list[str]:
        return await self._queues()

    async def lookup(self, ids: Sequence[str]) -> dict[str, Record]:
        wanted = records.possible(ids)
        queues = await self._queues()
        found: dict[str, Record] = {}
        for some in batched(wanted, records.CHUNK):
            replies = await self._calls(self._lookups(queues, some))
            _gather(found, queues, some, replies)
        return found

    def lookup_sync(self, ids: Sequence[str]) -> dict[str, Record]:
        wanted = records.possible(ids)
        queues = in_order(self._blocking.call(self._queues_request()))
        found: dict[str, Record] = {}
        for some in batched(wanted, records.CHUNK):
            replies = self._blocking.calls(list(self._lookups(queues, some)))
            _gather(found, queues, some, replies)
        return found

    def _lookups(self, queues: Sequence[str], ids: Sequence[str]) -> Iterable[Request]:
        return (records.lookup(self._names.queue(queue), ids) for queue in queues)

    async def browse(
        self, queue: str, state: State, *, limit: int, cursor: str | None = None
    ) -> tuple[list[Record], str | None]:
        if limit < 1:
            raise ValueError("limit must be at least 1")
        position = records.position(cursor)
        if state is State.RUNNING:
            return await self._browse_running(queue, limit, position[1])
        keys = self._names.queue(queue)
        page = await self._call(records.page(keys, state, limit + 1, position))
        ids, scores = page[::2], page[1::2]
        more = len(ids) > limit
        found = await self._records(queue, ids[:limit], state)
        return found, records.cursor(scores[limit - 1], ids[limit - 1]) if more else None

    async def _browse_running(
        self, queue: str, limit: int, after: bytes
    ) -> tuple[list[Record], str | None]:
        """In the order of ids: a lease moves while it is held, and those running are few."""
        held = self._names.queue(queue)
        every = await self._call(Request(held.slot, pack("ZRANGE", held.name("lease"), 0, -1)))
        ids = sorted(id for id in every if id > after)
        found = await self._records(queue, ids[:limit], State.RUNNING)
        return found, records.cursor(b"", ids[limit - 1]) if len(ids) > limit else None

    async def _records(self, queue: str, ids: Sequence[bytes], state: State) -> list[Record]:
        """Those still in that state, in order."""
        keys, names = self._names.queue(queue), [layout.text(id) for id in ids]
        found: list[Record] = []
        for some in batched(names, records.CHUNK):
            reply = await self._call(records.lookup(keys, some))
            found += records.found(queue, some, reply)
        return [record for record in found if record.state is state]

    # -- operating

    async def requeue(self, ids: Sequence[str]) -> int:
        wanted = records.possible(ids)
        count = 0
        for queue in await self._queues():
            for some in batched(wanted, records.CHUNK):
                count += await self._call(records.requeue(self._names.queue(queue), some))
            self._ring({queue})
        return count

    async def purge(self, queue: str, state: State, *, before: float | None = None) -> int:
        """In steps: to delete a million at once would hold everybody up for seconds."""
        if state is State.RUNNING:
            raise ValueError("running messages cannot be purged")
        keys = self._names.queue(queue)
        count = rank = 0
        while rank >= 0:
            deleted, rank = await self._call(records.purge(keys, state, before, rank))
            count += deleted
        return count

    async def prune(self, limit: int) -> int:
        count = 0
        for queue in await self._queues():
            cursor = self._prune_cursors.get(queue, b"0")
            request = records.prune(self._names.queue(queue), max(limit - count, 0), cursor)
            deleted, self._prune_cursors[queue] = await self._call(request)
            count += deleted
        return count


def in_order(queues: list[bytes]) -> list[str]:
    """The names of all queues, sorted."""
    return sorted(layout.read_name(each) for each in queues)


def _gather(
    found: dict[str, Record], queues: Sequence[str], ids: Sequence[str], replies: Sequence[Any]
) -> None:
    for queue, reply in zip(queues, replies, strict=True):
        found.update((record.id, record) for record in records.found(queue, ids, reply))
