"""A loop that was blocked for the timeout cut off a long reply that was still coming in."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.runtime.virtual_time import VirtualLoop
from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.store.valkey.link import GRACE, Link

TIMEOUT = 10.0
SIZE = 1000


class Wire(asyncio.Transport):
    """Where requests end, and whether it was cut."""

    def __init__(self) -> None:
        super().__init__()
        self.cut_at: float | None = None

    def write(self, data: Any) -> None:
        """Nobody reads it."""

    def abort(self) -> None:
        self.cut_at = asyncio.get_running_loop().time()


@pytest.fixture(autouse=True)
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=VirtualLoop) as it:
        yield it


async def overdue() -> tuple[Link, Wire, "asyncio.Future[Any]"]:
    """A request whose time is over, and whose reply has begun to come in."""
    link, wire = Link("a server", TIMEOUT), Wire()
    link.connection_made(wire)
    reply = link.send(b"a request")
    await asyncio.sleep(TIMEOUT - GRACE / 4)
    link.data_received(b"$%d\r\n" % SIZE)
    return link, wire, reply


async def test_a_long_reply_that_is_coming_in_is_read_to_its_end() -> None:
    link, wire, reply = await overdue()
    for _ in range(10):
        await asyncio.sleep(0.8 * GRACE)
        link.data_received(bytes(SIZE // 10))
    assert not reply.done()
    link.data_received(b"\r\n")
    assert await reply == bytes(SIZE)
    assert wire.cut_at is None


async def test_one_that_stops_coming_is_given_up_on() -> None:
    link, wire, reply = await overdue()
    await asyncio.sleep(0.8 * GRACE)
    link.data_received(bytes(SIZE // 10))
    with pytest.raises(StoreUnavailable, match="did not answer within 10 s"):
        await reply
    assert wire.cut_at == pytest.approx(TIMEOUT + 2 * GRACE, abs=GRACE)


async def test_one_that_comes_for_ever_is_waited_for_no_longer_than_twice_the_time() -> None:
    link, wire, reply = await overdue()
    while not reply.done():
        await asyncio.sleep(0.8 * GRACE)
        link.data_received(b".")
    with pytest.raises(StoreUnavailable):
        await reply
    assert wire.cut_at == pytest.approx(2 * TIMEOUT, abs=2 * GRACE)
