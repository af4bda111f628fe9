"""The doorbell between processes: LISTEN on a connection of its own, NOTIFY with the pushes.

Nothing depends on it but how soon work begins: the runtime looks once a second whatever happens.
A sender rings at most once per queue in ``PAUSE``; so whoever hears a ring looks twice, at once and
after ``PAUSE``, by when all that was not rung for has been committed, unless that took long.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from secrets import token_hex

import psycopg
from psycopg import AsyncConnection

from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.store.database.postgres.connections import connect
from vtasks_asgi.store.database.postgres.push import CHANNEL
from vtasks_asgi.store.doorbell import Doorbell

logger = logging.getLogger("vtasks_asgi")

#: Seconds between two notifications for one queue.
PAUSE = 0.05
#: Seconds within which a notification to ourselves must arrive, or none ever will.
HEARD_WITHIN = 3.0
#: Seconds after which a silent connection is looked at.
LOOK_EVERY = 60.0
#: Seconds between two attempts to listen again.
RETRY_FIRST, RETRY_LAST = 0.5, 10.0


class Ringer:
    """Decides which notifications to send; a word names the sender and the queue."""

    def __init__(self) -> None:
        self.name = token_hex(4)
        self._rang: dict[str, float] = {}

    def words(self, queues: Collection[str]) -> list[str]:
        """What to notify for pushes to these queues; nothing for those just rung for."""
        now, words = time.monotonic(), []
        for queue in queues:
            if now - self._rang.get(queue, 0.0) >= PAUSE:
                self._rang[queue] = now
                words.append(f"{self.name} {queue}")
        return words


class Listener:
    """Hears other processes and rings this one's doorbell; ``alive`` while it does."""

    def __init__(self, alias: str, doorbell: Doorbell, ringer: Ringer) -> None:
        self._alias = alias
        self._doorbell = doorbell
        self._ringer = ringer
        self._task: asyncio.Task[None] | None = None
        self._again: set[str] = set()
        self.alive = False
        self._heard_self = False
        self._tried = asyncio.Event()

    async def start(self, notify: Callable[[str], Awaitable[object]]) -> None:
        """Listen until ``aclose``; ``notify`` sends a word on another connection.

        Returns when it listens, or has failed to and will try again.
        """
        self._tried.clear()
        self._task = asyncio.create_task(self._run(notify), name=f"vtasks-listen-{self._alias}")
        await self._tried.wait()

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self, notify: Callable[[str], Awaitable[object]]) -> None:
        pause = RETRY_FIRST
        while True:
            try:
                async with await connect(self._alias) as conn:
                    if not await self._listen(conn, notify):
                        logger.warning(
                            "Notifications do not get through from DATABASES[%r]:"
                            " workers look once a second",
                            self._alias,
                        )
                        return
            except psycopg.Error:
                pause = RETRY_FIRST if self.alive else min(pause * 2, RETRY_LAST)
            finally:
                self.alive = False
                self._tried.set()
            await asyncio.sleep(pause)

    async def _listen(
        self, conn: AsyncConnection, notify: Callable[[str], Awaitable[object]]
    ) -> bool:
        """Until the connection breaks; False when notifications do not get through."""
        await conn.execute(f"LISTEN {CHANNEL}")
        self._doorbell.ring()  # who knows what was said while nobody listened
        self.alive = True
        self._tried.set()
        self._heard_self = tested = False
        while True:
            if not tested:
                with suppress(StoreError):
                    await notify(self._ringer.name)
                    tested = True
            async for heard in conn.notifies(
                timeout=LOOK_EVERY if self._heard_self else HEARD_WITHIN
            ):
                self._hear(heard.payload)
            if tested and not self._heard_self:
                return False
            await conn.execute("")  # is anybody still there?

    def _hear(self, word: str) -> None:
        sender, _, queue = word.partition(" ")
        if sender == self._ringer.name:
            self._heard_self = True  # what we push rings here directly
        elif queue:
            self._doorbell.ring((queue,))
            if queue not in self._again:
                self._again.add(queue)
                asyncio.get_running_loop().call_later(PAUSE * 1.5, self._ring_again, queue)

    def _ring_again(self, queue: str) -> None:
        self._again.discard(queue)
        self._doorbell.ring((queue,))
