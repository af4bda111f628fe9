"""What operators do to messages, queues and tasks in Valkey."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import batched
from typing import Any

from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.store.control import Cancel, Cancellation, Paused
from vtasks_asgi.store.valkey import layout, records
from vtasks_asgi.store.valkey.blocking import Blocking
from vtasks_asgi.store.valkey.commands import ask, number
from vtasks_asgi.store.valkey.inspect import ValkeyInspector, in_order
from vtasks_asgi.store.valkey.keys import Keys, Names
from vtasks_asgi.store.valkey.scripts import script
from vtasks_asgi.store.valkey.wire import Request

CANCEL, PAUSE, RESUME, PAUSED = map(script, ("cancel", "pause", "resume", "paused"))

#: What is paused of a queue: all of it. Of tasks there is a field for each, in a hash of their own.
_ALL = b"until"


class ValkeyControl(ValkeyInspector):
    """See ``store.control``. An id does not tell its queue, so all known queues are asked."""

    def __init__(self, names: Names, blocking: Blocking, dead_letter_cap: int) -> None:
        super().__init__(names, blocking)
        self._cap = dead_letter_cap

    async def _register(self, queue: str) -> None:
        raise NotImplementedError

    # -- cancelling

    async def cancel(self, ids: Sequence[str]) -> Cancellation:
        cancellation = Cancellation(dict.fromkeys(ids, Cancel.UNKNOWN))
        queues = await self._queues()
        for some in batched(records.possible(ids), records.CHUNK):
            replies = await self._calls(self._cancels(queues, some))
            _add(cancellation, queues, some, replies)
        return cancellation

    def cancel_sync(self, ids: Sequence[str]) -> Cancellation:
        cancellation = Cancellation(dict.fromkeys(ids, Cancel.UNKNOWN))
        queues = in_order(self._blocking.call(self._queues_request()))
        for some in batched(records.possible(ids), records.CHUNK):
            replies = self._blocking.calls(list(self._cancels(queues, some)))
            _add(cancellation, queues, some, replies)
        return cancellation

    def _cancels(self, queues: Sequence[str], ids: Sequence[str]) -> Iterable[Request]:
        cap, encoded = b"%d" % self._cap, records.encoded(ids)
        return (ask(self._names.queue(queue), CANCEL, cap, *encoded) for queue in queues)

    # -- pausing

    async def pause(self, queue: str, until: float | None = None) -> None:
        await self._call(_pause(self._names.queue(queue), _ALL, until))
        with suppress(StoreError):  # a queue that holds anything is known; so pauses need no memory
            await self._register(queue)

    async def resume(self, queue: str) -> bool:
        was = await self._call(ask(self._names.queue(queue), RESUME, _ALL))
        self._ring({queue})
        return bool(was)

    async def pause_task(self, task: str, until: float | None = None) -> None:
        await self._call(_pause(self._names.ticks, layout.name(task), until))

    async def resume_task(self, task: str) -> bool:
        return bool(await self._call(ask(self._names.ticks, RESUME, layout.name(task))))

    async def paused(self) -> Paused:
        queues = await self._queues()
        places = [self._names.ticks, *map(self._names.queue, queues)]
        tasks, *replies = await self._calls(ask(keys, PAUSED) for keys in places)
        found = Paused(tasks=_ends(tasks))
        for queue, reply in zip(queues, replies, strict=True):
            if reply:
                [found.queues[queue]] = _ends(reply).values()
        return found

    async def paused_tasks(self) -> set[str]:
        return set(_ends(await self._call(ask(self._names.ticks, PAUSED))))


def _pause(keys: Keys, what: bytes, until: float | None) -> Request:
    return ask(keys, PAUSE, what, b"" if until is None else number(until))


def _ends(reply: list[bytes]) -> dict[str, float | None]:
    names = map(layout.read_name, reply[::2])
    ends = (float(each) if each else None for each in reply[1::2])
    return dict(zip(names, ends, strict=True))


def _add(
    cancellation: Cancellation, queues: Sequence[str], ids: Sequence[str], replies: Sequence[Any]
) -> None:
    for queue, (answers, evicted) in zip(queues, replies, strict=True):
        for id, answer in zip(ids, answers, strict=True):
            if answer:
                cancellation.outcomes[id] = Cancel(answer.decode())
        if buried := answers.count(Cancel.CANCELLED.encode()):
            cancellation.buried[queue] = cancellation.buried.get(queue, 0) + buried
        if evicted:
            cancellation.evicted[queue] = cancellation.evicted.get(queue, 0) + evicted
