"""Requests from the event loop: one connection a server, shared by all callers."""

import asyncio
from collections.abc import Callable
from typing import Any

from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.store.valkey.dial import Dialer, Line
from vtasks_asgi.store.valkey.errors import ReplyError, is_replica, mapped
from vtasks_asgi.store.valkey.link import Link
from vtasks_asgi.store.valkey.topology import Consult, Send, Step, Steps, exchange, topology
from vtasks_asgi.store.valkey.url import Address, Endpoint
from vtasks_asgi.store.valkey.wire import ASKING, Request


class Client:
    """``call`` sends a request where it belongs. ``timeout`` in seconds bounds each call."""

    def __init__(self, endpoint: Endpoint, dialer: Dialer, timeout: float) -> None:
        self._topology = topology(endpoint)
        self._timeout = timeout
        self._dialer = dialer
        self._lines: dict[Address, Line] = {}

    async def call(self, request: Request) -> Any:
        """The reply.

        Raises:
            StoreError: there is none, or it is an error.
        """
        address = self._topology.find(request.slot)
        line = self._lines.get(address) if address is not None else None
        first = None
        if line is not None and line.link is not None and line.link.alive and address is not None:
            try:
                answer = await line.link.send(request.payload)
            except StoreUnavailable as error:
                answer = error
            if not isinstance(answer, Exception):
                return answer
            first = (address, answer)
            if is_replica(answer):
                self._retire(address)
        return await self._walk(exchange(self._topology, request, self._timeout, first))

    def post(self, request: Request, answer: Callable[[Any], None]) -> bool:
        """Send it at once, if the server is known and connected; ``answer`` gets what comes back.

        What comes back may be an error, which is for ``call`` to deal with.
        """
        address = self._topology.find(request.slot)
        line = self._lines.get(address) if address is not None else None
        if line is None or line.link is None or not line.link.alive:
            return False
        line.link.post(request.payload, answer)
        return True

    async def _walk[T](self, steps: Steps[T]) -> T:
        """Take the steps one after the other, until there is a result or the time is up."""
        try:
            async with asyncio.timeout(self._timeout):
                step = next(steps)
                while True:
                    step = steps.send(await self._answer(step))
        except StopIteration as end:
            result: T = end.value
            return result
        except TimeoutError:
            raise StoreUnavailable(f"Valkey did not answer within {self._timeout:g} s") from None

    async def _answer(self, step: Step) -> Any:
        try:
            if isinstance(step, Send):
                answer = await self._send(step)
                if is_replica(answer):
                    self._retire(step.address)
                return answer
            if isinstance(step, Consult):
                return await self._dialer.consult(step.address, step.payload)
        except StoreUnavailable as error:
            return error
        return await asyncio.sleep(step.seconds)

    def _retire(self, address: Address) -> None:
        """Connect anew for the next request: the name may belong to another server by now."""
        link = self._lines[address].link
        if link is not None:
            link.retire()

    async def _send(self, step: Send) -> Any:
        line = self._lines.get(step.address)
        if line is None:
            line = self._lines[step.address] = Line(self._dialer, step.address)
        link = await line.connected()
        if not step.asking:
            return await link.send(step.payload)
        allowed, answer = link.send(ASKING), link.send(step.payload)
        if isinstance(refused := await allowed, ReplyError):
            raise mapped(refused)
        return await answer

    def switched(self, primary: Address | None) -> None:
        """Another server is the primary, as a sentinel says; None: ask whether it is."""
        if primary is None:
            self._topology.forget(0)
            return
        self._topology.learn(0, primary)
        for address, line in self._lines.items():
            if address != primary and line.link is not None:
                line.link.retire()

    async def subscription(self, slot: int, hear: Callable[[Any], None]) -> Link:
        """A connection of its own, to whoever has the slot.

        Raises:
            StoreUnavailable: there is none to be had.
        """
        address = self._topology.find(slot)
        if address is None:
            address = await self._walk(self._topology.resolve(slot))
        try:
            return await self._dialer.dial(address, hear=hear)
        except StoreUnavailable:
            self._topology.forget(slot)
            raise

    async def aclose(self) -> None:
        """Let go of every connection."""
        lines = list(self._lines.values())
        self._lines.clear()
        for line in lines:
            await line.aclose()
        await self._dialer.aclose()
