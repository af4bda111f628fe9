"""Hears from a sentinel at once when another server becomes the primary.

The old one may live on for seconds, take writes and lose them all when it is told to follow the
new one. That window is closed here as far as a client can close it.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.store.valkey.dial import EndpointDialer
from vtasks_asgi.store.valkey.url import Address, Endpoint
from vtasks_asgi.store.valkey.wire import pack

CHANNEL = "+switch-master"
#: Seconds between two tries to reach any sentinel.
AGAIN = 1.0

type Switched = Callable[[Address | None], None]


class PrimaryWatch:
    """``switched`` is called with the new primary, or None when one may have been missed."""

    def __init__(self, endpoint: Endpoint, dialer: EndpointDialer, switched: Switched) -> None:
        self._sentinels = list(endpoint.addresses)
        self._service = (endpoint.service or "").encode()
        self._dialer = dialer
        self._switched = switched
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen."""
        self._keeping = asyncio.create_task(self._keep())

    async def aclose(self) -> None:
        """Stop listening."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})

    async def _keep(self) -> None:
        while True:
            for sentinel in self._sentinels:
                with suppress(StoreError):  # there are others
                    await self._listen(sentinel)
            await asyncio.sleep(AGAIN * (0.5 + random.random() / 2))

    async def _listen(self, sentinel: Address) -> None:
        """Return when the sentinel is gone."""
        link = await self._dialer.dial_sentinel(sentinel, hear=self._hear)
        try:
            link.tell(pack("SUBSCRIBE", CHANNEL))
            await link.ended.wait()
        finally:
            link.drop("is no longer needed")

    def _hear(self, told: Any) -> None:
        if not isinstance(told, list) or len(told) != 3:
            return
        if told[0] == b"subscribe":
            self._switched(None)
        elif told[0] == b"message":
            service, _, _, host, port = told[2].rsplit(b" ", 4)
            if service == self._service:
                self._switched(Address(host.decode(), int(port)))
