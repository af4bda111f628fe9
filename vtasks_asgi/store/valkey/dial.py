"""Connections for the event loop: how one is made, and a line that makes the next when it broke."""

import asyncio
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.store.valkey import handshake
from vtasks_asgi.store.valkey.errors import NotSent
from vtasks_asgi.store.valkey.link import Link
from vtasks_asgi.store.valkey.url import Address, Endpoint

#: Seconds to leave a server alone that could not be reached, doubled from try to try.
BACKOFF_FIRST, BACKOFF_LAST = 0.05, 1.0

type Hear = Callable[[Any], None]
type Gone = Callable[[], None]


class Dialer(Protocol):
    """How to get a connection to a server."""

    async def dial(self, address: Address, *, hear: Hear | None = None) -> Link:
        """A connection that is ready.

        Raises:
            StoreUnavailable: there is none to be had.
        """
        ...

    async def consult(self, address: Address, payload: bytes) -> Any:
        """Ask a sentinel one question, on a connection for that alone.

        Raises:
            StoreUnavailable: it does not answer.
        """
        ...

    async def aclose(self) -> None:
        """Return when every link that has ended is let go of."""
        ...


@dataclass(frozen=True, slots=True)
class EndpointDialer:
    """Connections of our own, as BROKER_URL says. ``timeout`` in seconds."""

    endpoint: Endpoint
    timeout: float

    async def dial(self, address: Address, *, hear: Hear | None = None) -> Link:
        link = await self._connect(address, hear)
        words = handshake.greeting(self.endpoint)
        await self._greet(link, words)
        return link

    async def consult(self, address: Address, payload: bytes) -> Any:
        link = await self.dial_sentinel(address)
        try:
            return await link.send(payload)
        finally:
            link.drop("is no longer needed")

    async def dial_sentinel(self, address: Address, *, hear: Hear | None = None) -> Link:
        """A connection to a sentinel.

        Raises:
            StoreUnavailable: there is none to be had.
        """
        link = await self._connect(address, hear)
        await self._greet(link, handshake.sentinel_greeting(self.endpoint))
        return link

    async def aclose(self) -> None:
        pass

    async def _connect(self, address: Address, hear: Hear | None) -> Link:
        loop = asyncio.get_running_loop()
        link = Link(str(address), self.timeout, hear=hear)
        try:
            async with asyncio.timeout(self.timeout):
                if not address.port:
                    await loop.create_unix_connection(lambda: link, address.host)
                    return link
                context = self.endpoint.tls.context() if self.endpoint.tls else None
                transport, _ = await loop.create_connection(lambda: link, *address, ssl=context)
                sock = transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except TimeoutError:
            raise NotSent(f"Valkey at {address} did not answer within {self.timeout:g} s") from None
        except OSError as error:
            raise NotSent(f"Valkey at {address} cannot be reached: {error}") from error
        return link

    async def _greet(self, link: Link, words: list[bytes]) -> None:
        try:
            answers = [await answer for answer in [link.send(word) for word in words]]
            handshake.check(self.endpoint, words, answers)
        except BaseException as error:
            link.drop("is no longer needed")
            if isinstance(error, StoreUnavailable):
                raise NotSent(str(error)) from error
            raise


class Line:
    """The connection to one server; broken, it is made anew for the next caller who wants it."""

    def __init__(self, dialer: Dialer, address: Address) -> None:
        self._dialer = dialer
        self._address = address
        self._dialing: asyncio.Task[Link] | None = None
        self._failures = 0
        self._not_before = 0.0
        self._error: str | None = None
        self.link: Link | None = None

    async def connected(self) -> Link:
        """The connection.

        Raises:
            StoreUnavailable: it cannot be had, or could not a moment ago.
        """
        if self.link is not None and self.link.alive:
            return self.link
        if self._dialing is None:
            if self._error is not None and asyncio.get_running_loop().time() < self._not_before:
                raise NotSent(self._error)
            self._dialing = asyncio.create_task(self._dial())
            self._dialing.add_done_callback(_retrieve)
        # Shielded, for whoever started it may be cancelled while others wait for it as well.
        return await asyncio.shield(self._dialing)

    async def _dial(self) -> Link:
        loop = asyncio.get_running_loop()
        try:
            self.link = await self._dialer.dial(self._address)
        except StoreUnavailable as error:
            pause = min(BACKOFF_FIRST * 2**self._failures, BACKOFF_LAST)
            self._failures += 1
            # Jitter: processes that lost one server together must not come back together.
            self._not_before = loop.time() + pause * (0.5 + random.random() / 2)
            self._error = str(error)
            raise
        finally:
            self._dialing = None
        self._failures, self._error = 0, None
        return self.link

    async def aclose(self) -> None:
        """Let go of the connection; whoever still waits for an answer is told."""
        if self._dialing is not None:
            self._dialing.cancel()
            await asyncio.wait({self._dialing})
        if self.link is not None:
            self.link.drop("is no longer asked: the store was closed")


def _retrieve(dialing: "asyncio.Task[Link]") -> None:
    """Look at the error, which nobody else may do: all who waited may have been cancelled."""
    if not dialing.cancelled():
        dialing.exception()
