"""A relay between a client and a server that does to their bytes what a bad network does."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

CHUNK = 65536


@dataclass(slots=True)
class Way:
    """What happens to the bytes of one direction. Set it at any time; it holds from then on."""

    #: Seconds that each byte is under way. A lower value lets nothing overtake.
    delay: float = 0.0
    #: Drop what comes, as if it were lost for ever; the connections stay open.
    swallow: bool = False
    #: So many more bytes pass, over all connections; then the one that carries more is cut.
    cut_after: int | None = None

    #: Bytes that have come in; those of them that were passed on, and those that never will be.
    taken: int = 0
    passed: int = 0
    dropped: int = 0

    def admit(self, data: bytes) -> bytes:
        """The bytes that may go on."""
        kept = b"" if self.swallow else data[: self.cut_after]
        if self.cut_after is not None:
            self.cut_after -= len(kept)
        self.dropped += len(data) - len(kept)
        return kept


class Connection:
    """One client's connection, and the one made for it to the server."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client, self.server = client, server

    def cut(self) -> None:
        """Reset both sides: what is under way is lost, and both see an error."""
        for writer in (self.client, self.server):
            with suppress(OSError):
                # Linger for no time: closing sends RST in the place of FIN.
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger
                )
            writer.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, way: Way) -> None:
        """One direction, until its sender has ended it; the end is passed on as well."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        async with asyncio.TaskGroup() as both:
            both.create_task(self._send(queue, to, way))
            data = b"not yet the end"
            while data:
                data = await reader.read(CHUNK)
                queue.put_nowait((asyncio.get_running_loop().time() + way.delay, data))
                way.taken += len(data)

    async def _send(
        self, queue: asyncio.Queue[tuple[float, bytes]], to: asyncio.StreamWriter, way: Way
    ) -> None:
        while True:
            due, data = await queue.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            if not data:
                to.write_eof()
                return
            kept = way.admit(data)
            to.write(kept)
            await to.drain()
            way.passed += len(kept)
            if way.cut_after == 0 and len(kept) < len(data):
                self.cut()
                return


class Relay:
    """Listens on ``port`` and connects each client to ``target``, in a thread with its own loop.

    ``requests`` go to the server and ``replies`` come from it. All methods are for other threads.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        #: Reset new clients at once, as a firewall or a dead host's neighbour does.
        self.refuse = False
        self.requests, self.replies = Way(), Way()
        self._connections: set[Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def cut(self) -> None:
        """Reset every connection there is; new ones are welcome."""
        self._do(self._each(Connection.cut))

    def half_close(self) -> None:
        """Tell each client that the server has no more to say; requests still go on."""
        self._do(self._each(lambda it: it.client.write_eof()))

    def heal(self) -> None:
        """From now on everything passes. What was dropped stays lost."""
        self.refuse = False
        for way in (self.requests, self.replies):
            way.delay, way.swallow, way.cut_after = 0.0, False, None

    def _do[T](self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _each(self, act: Callable[[Connection], None]) -> None:
        for connection in list(self._connections):
            act(connection)

    async def _end(self) -> None:
        self._server.close()
        await self._each(Connection.cut)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            if self.refuse:
                raise ConnectionRefusedError
            replies, server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            Connection(client, client).cut()
            return
        connection = Connection(client, server)
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(connection.carry(reader, server, self.requests))
                both.create_task(connection.carry(replies, client, self.replies))
        except* OSError:
            connection.cut()  # one side is gone, so tell the other
        finally:
            self._connections.discard(connection)
            for writer in (client, server):
                writer.close()
