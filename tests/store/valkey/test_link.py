"""A request is on its way when ``post`` returns, whatever the loop does with its writes."""

import asyncio
import socket
from typing import Any

import pytest

from vtasks_asgi.store.valkey.link import Link


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_request_is_sent_before_the_loop_turns(loop: str) -> None:
    make = pytest.importorskip(loop).new_event_loop
    with socket.create_server(("127.0.0.1", 0)) as server, asyncio.Runner(loop_factory=make) as run:
        run.run(_posted(server))


async def _posted(server: socket.socket) -> None:
    link = Link("a server", 5.0)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: link, *server.getsockname())
    other, _ = server.accept()
    with other:
        other.settimeout(5.0)
        answers: asyncio.Queue[Any] = asyncio.Queue()
        for request in (b"one", b"two"):
            link.post(request, answers.put_nowait)
            assert other.recv(100) == request, "nothing was awaited since"
        other.sendall(b"+1\r\n+2\r\n")
        async with asyncio.timeout(5.0):
            assert [await answers.get(), await answers.get()] == [b"1", b"2"]
    link.drop("is done with")
