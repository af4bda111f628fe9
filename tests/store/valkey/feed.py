"""Work that goes on while a test does something to the servers, and the account of it."""

import asyncio

from tests.store.helpers import ids, message, take
from tests.store.valkey.opening import store
from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.outcome import Done
from vtasks_asgi.store.base import Claim, Settlement
from vtasks_asgi.store.valkey.store import ValkeyStore

PRODUCERS = 4


class Feed:
    """Pushes, on the loop and on a blocking connection, and works off; each is noted.

    What the store refuses is tried again until ``stopping``, and noted in ``errors``.
    """

    def __init__(self, it: ValkeyStore, url: str, *, timeout: float) -> None:
        self._store = it
        self._apart = store(url, timeout=timeout)
        self.acknowledged: set[str] = set()
        self.done: list[str] = []
        self.errors: list[StoreUnavailable] = []
        self.stopping = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as everybody:
            for _ in range(PRODUCERS):
                everybody.create_task(self._produce())
            everybody.create_task(asyncio.to_thread(self._produce_blocking))
            everybody.create_task(self._consume())

    async def finish(self) -> None:
        """Work off what is left."""
        while claims := await take(self._store):
            await self._settle(claims)

    async def _produce(self) -> None:
        while not self.stopping:
            await self._push(message(body=bytes(200)))

    async def _push(self, pushed: Message) -> None:
        while not self.stopping:
            try:
                await self._store.push([pushed])
            except StoreUnavailable as error:
                self.errors.append(error)
                await asyncio.sleep(0.02)
            else:
                self.acknowledged.add(pushed.id)
                return

    def _produce_blocking(self) -> None:
        while not self.stopping:
            pushed = message()
            try:
                self._apart.push_sync([pushed])
            except StoreUnavailable as error:
                self.errors.append(error)
            else:
                self.acknowledged.add(pushed.id)

    async def _consume(self) -> None:
        while not self.stopping:
            try:
                claims = await take(self._store, 50)
            except StoreUnavailable as error:
                self.errors.append(error)
            else:
                await self._settle(claims)
            await asyncio.sleep(0.001)

    async def _settle(self, claims: list[Claim]) -> None:
        """Until the store has answered, as the runtime does."""
        while True:
            try:
                settled = await self._store.settle([Settlement(it, Done(b"h")) for it in claims])
            except StoreUnavailable as error:
                self.errors.append(error)
                await asyncio.sleep(0.02)
            else:
                lost = ids(settled.lost)
                self.done += [claim.id for claim in claims if claim.id not in lost]
                return
