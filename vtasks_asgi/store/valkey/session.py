"""What exists only while a store is open: it belongs to one process and one loop."""

import asyncio
import os
import threading
from functools import partial

from vtasks_asgi.store.bell import Bell
from vtasks_asgi.store.valkey.client import Client
from vtasks_asgi.store.valkey.doorbell import Doorbell
from vtasks_asgi.store.valkey.keys import Names
from vtasks_asgi.store.valkey.pushing import Pusher, Registry
from vtasks_asgi.store.valkey.ticking import Ticker


class Session:
    """Made on the loop that opens the store."""

    def __init__(self, client: Client, names: Names, registry: Registry, bell: Bell) -> None:
        self._pid = os.getpid()
        self._thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        self._client = client
        self.call = client.call
        self.doorbell = Doorbell(bell, names, partial(client.subscription, names.queues_slot))
        self.pusher = Pusher(client.call, names, registry, bell)
        self.ticker = Ticker(client.call, names, self.pusher, bell)

    @property
    def is_ours(self) -> bool:
        """False in a child that was forked: the connections are its parent's."""
        return self._pid == os.getpid()

    @property
    def is_elsewhere(self) -> bool:
        """Does its loop run, in another thread than the caller's?"""
        return self._thread != threading.get_ident() and self._loop.is_running()

    async def aclose(self) -> None:
        """Let go of every connection."""
        await self.doorbell.aclose()
        await self._client.aclose()
