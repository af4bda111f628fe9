"""Hears the pushes of other processes: one subscription, shared by all who wait.

A push publishes to its queue's channel only if somebody has looked at the queue and found nothing
since the last ring; so a busy queue costs no messages.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.store.doorbell import Doorbell
from vtasks_asgi.store.valkey.keys import Names
from vtasks_asgi.store.valkey.link import Link
from vtasks_asgi.store.valkey.wire import pack

#: Seconds before a lost subscription is made anew, at the least and at the most.
AGAIN_FIRST, AGAIN_LAST = 0.1, 5.0
#: Seconds between two signs of life asked of a silent subscription.
PING_EVERY = 5.0

type Subscribe = Callable[[Callable[[Any], None]], Awaitable[Link]]


class Subscription:
    """``watch`` the queues somebody waits for; ``doorbell`` rings for them.

    ``dial`` makes the connection, given who hears what it is told.
    """

    def __init__(self, doorbell: Doorbell, names: Names, dial: Subscribe) -> None:
        self._doorbell = doorbell
        self._names = names
        self._dial = dial
        self._queues: dict[bytes, str] = {}
        self._link: Link | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._alive = False

    def watch(self, queues: Iterable[str]) -> None:
        """Hear of pushes to these queues from now on."""
        new = [queue for queue in queues if self._names.queue(queue).channel not in self._queues]
        for queue in new:
            self._queues[self._names.queue(queue).channel] = queue
        if new and self._link is not None and self._link.alive:
            self._subscribe(new)
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())

    def renew(self) -> None:
        """Subscribe anew, where the pushes are now."""
        if self._link is not None:
            self._link.drop("is no longer the primary")

    async def aclose(self) -> None:
        """End the subscription."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
            await asyncio.wait({keeping})
        self._queues.clear()

    def _subscribe(self, queues: Iterable[str]) -> None:
        assert self._link is not None
        self._link.tell(pack("SUBSCRIBE", *(self._names.queue(each).channel for each in queues)))

    def _hear(self, told: Any) -> None:
        self._alive = True
        if isinstance(told, list) and len(told) == 3:
            queue = self._queues.get(told[1])
            if queue is not None:
                # Also when a subscription has just begun: what came before it was not heard.
                self._doorbell.ring({queue})

    async def _keep(self) -> None:
        pause = AGAIN_FIRST
        try:
            while True:
                try:
                    self._link = await self._dial(self._hear)
                except StoreError:
                    pass  # the store's other connections report it; waiting has its ceiling
                else:
                    pause = AGAIN_FIRST
                    self._subscribe(self._queues.values())
                    await self._listen(self._link)
                await asyncio.sleep(pause * (0.5 + random.random() / 2))
                pause = min(pause * 2, AGAIN_LAST)
        finally:
            if self._link is not None:
                self._link.drop("is no longer needed")

    async def _listen(self, link: Link) -> None:
        """Return when the subscription is lost, or silent even when asked."""
        asked = False
        while True:
            self._alive = False
            try:
                async with asyncio.timeout(PING_EVERY):
                    await link.ended.wait()
                return
            except TimeoutError:
                if asked and not self._alive:
                    link.drop("is silent")
                    return
            asked = not self._alive
            if asked:
                link.tell(pack("PING"))
