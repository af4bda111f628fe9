"""One connection, many callers: requests go out in order, and replies come back in that order.

Invariant: nobody but the reader consumes replies, so a caller who is cancelled, or whose time is
up, never leaves a reply for the next one. After any doubt the whole connection is dropped.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from libvalkey import ProtocolError

from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.store.valkey.errors import NotSent
from vtasks_asgi.store.valkey.wire import INCOMPLETE, reader

#: A loop that was blocked must get the chance to read what has come meanwhile (seconds); while a
#: long reply is coming in, again and again, but not for longer than one more timeout.
GRACE = 0.05


type Answer = Callable[[Any], None]


def _settle(future: "asyncio.Future[Any]", reply: Any) -> None:
    if future.done():
        return  # nobody waits for it any more
    if isinstance(reply, StoreUnavailable):
        future.set_exception(reply)
    else:
        future.set_result(reply)


class Link(asyncio.Protocol):
    """``send`` packed commands once it is connected. An error reply is the result, not raised.

    Args:
        name: what messages call the server.
        timeout: seconds after which an unanswered request condemns the connection.
        hear: called with each reply that nobody waits for: what a subscriber is told.
    """

    def __init__(
        self, name: str, timeout: float, *, hear: Callable[[Any], None] | None = None
    ) -> None:
        self._name = name
        self._timeout = timeout
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._reader = reader()
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[Answer, float]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._suspect: Answer | None = None
        self._latest = 0.0  # when the suspect will have had its time twice
        self._coming = False  # anything, since the last look
        self._why = "closed the connection"
        self.alive = False
        #: Set, and the other called, when the connection is no more.
        self.ended = asyncio.Event()
        self.when_ended: Callable[[], None] | None = None

    def send(self, payload: bytes) -> "asyncio.Future[Any]":
        """Send one command; its reply.

        Raises:
            NotSent: the connection is gone.
        """
        future = self._loop.create_future()
        self.post(payload, partial(_settle, future))
        return future

    def post(self, payload: bytes, answer: Answer) -> None:
        """Send one command; ``answer`` is called once, with the reply or StoreUnavailable.

        Quicker than ``send`` by a turn of the loop.

        Raises:
            NotSent: the connection is gone.
        """
        if not self.alive or self._transport is None:
            raise NotSent(f"Valkey at {self._name} is not connected")
        self._waiting.append((answer, self._loop.time()))
        self._transport.write(payload)
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout, self._look)

    def tell(self, payload: bytes) -> None:
        """Send a command whose reply is for ``hear``."""
        if self.alive and self._transport is not None:
            self._transport.write(payload)

    def retire(self) -> None:
        """Take nothing more; end once everything is answered."""
        self.alive = False
        if not self._waiting:
            self._hang_up()

    def drop(self, why: str) -> None:
        """End the connection at once; whoever waits is told why."""
        self._why = why
        self._hang_up()

    def _hang_up(self) -> None:
        if self._transport is not None and not self.ended.is_set():
            self._transport.abort()
            self._end()

    # -- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self.alive = True

    def data_received(self, data: bytes) -> None:
        feed, gets, waiting = self._reader.feed, self._reader.gets, self._waiting
        self._coming = True
        try:
            feed(data)
            while (reply := gets()) is not INCOMPLETE:
                if waiting:
                    waiting.popleft()[0](reply)
                elif self._hear is not None:
                    self._hear(reply)
                else:
                    raise ProtocolError("a reply nobody asked for")
        except ProtocolError as error:
            self.drop(f"does not speak the protocol ({error})")
        if not self.alive and not waiting:
            self._hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._why = f"broke the connection ({exc})"
        self._end()

    def _end(self) -> None:
        if self.ended.is_set():
            return
        self.alive = False
        self.ended.set()
        if self._watch is not None:
            self._watch.cancel()
        while self._waiting:
            answer, _ = self._waiting.popleft()
            answer(StoreUnavailable(f"Valkey at {self._name} {self._why}"))
        if self.when_ended is not None:
            self.when_ended()

    # -- one timer for all: the oldest request is the one to be answered next

    def _look(self) -> None:
        self._watch = None
        if not self._waiting:
            return
        oldest, sent = self._waiting[0]
        now = self._loop.time()
        left = sent + self._timeout - now
        if left <= 0:
            if oldest is not self._suspect:
                self._suspect, self._latest = oldest, now + self._timeout
            elif not self._coming or now >= self._latest:
                self.drop(f"did not answer within {self._timeout:g} s")
                return
            self._coming = False
        self._watch = self._loop.call_later(max(left, GRACE), self._look)
