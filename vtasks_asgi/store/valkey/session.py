"""What exists only while a store is open: it belongs to one process and one loop."""

import asyncio
import os
import threading
from functools import partial

from vtasks_asgi.store.doorbell import Doorbell
from vtasks_asgi.store.valkey.blocking import Blocking
from vtasks_asgi.store.valkey.client import Client
from vtasks_asgi.store.valkey.dial import EndpointDialer
from vtasks_asgi.store.valkey.keys import Names
from vtasks_asgi.store.valkey.pushing import Pusher, Registry
from vtasks_asgi.store.valkey.subscription import Subscription
from vtasks_asgi.store.valkey.ticking import Ticker
from vtasks_asgi.store.valkey.url import Address, Endpoint
from vtasks_asgi.store.valkey.watch import PrimaryWatch

#: Of this process; asking the system is a call of its own, each time.
_here = [os.getpid()]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _here.__setitem__(0, os.getpid()))


class Session:
    """Made on the loop that opens the store."""

    def __init__(
        self, client: Client, names: Names, registry: Registry, doorbell: Doorbell
    ) -> None:
        self._pid = _here[0]
        self._thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        self._client = client
        self.call = client.call
        self.subscription = Subscription(
            doorbell, names, partial(client.subscription, names.queues_slot)
        )
        self.pusher = Pusher(client, names, registry, doorbell)
        self._watch: PrimaryWatch | None = None
        self.ticker = Ticker(client.call, names, self.pusher, doorbell)

    @property
    def is_ours(self) -> bool:
        """False in a child that was forked: the connections are its parent's."""
        return self._pid == _here[0]

    @property
    def is_elsewhere(self) -> bool:
        """Does its loop run, in another thread than the caller's?"""
        return self._thread != threading.get_ident() and self._loop.is_running()

    def follow(self, endpoint: Endpoint, dialer: EndpointDialer, blocking: Blocking) -> None:
        """Let the sentinels say when there is another primary."""

        def switched(primary: Address | None) -> None:
            self._client.switched(primary)
            blocking.switched(primary)
            if primary is not None:
                self.subscription.renew()

        self._watch = PrimaryWatch(endpoint, dialer, switched)
        self._watch.start()

    async def aclose(self) -> None:
        """Let go of every connection."""
        if self._watch is not None:
            await self._watch.aclose()
        await self.subscription.aclose()
        await self._client.aclose()
