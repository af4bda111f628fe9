"""The relay's faults really fire."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.processes import wait_for
from tests.services.relay import Relay


class Echo(socketserver.BaseRequestHandler):
    """Sends back what comes, and ends when its client does."""

    def handle(self) -> None:
        while data := self.request.recv(65536):
            heard.append(data)
            self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A reset is what the tests are about."""


heard: list[bytes] = []


@pytest.fixture
def relay() -> Iterator[Relay]:
    heard.clear()
    with Server(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with Relay(server.server_address[1]) as it:
            yield it
        server.shutdown()
        thread.join()


@pytest.fixture
def client(relay: Relay) -> Iterator[socket.socket]:
    with closing(connect(relay)) as it:
        yield it


def connect(relay: Relay) -> socket.socket:
    return socket.create_connection(("127.0.0.1", relay.port), timeout=20)


def receive(client: socket.socket, size: int) -> bytes:
    """That many bytes, fewer at the end of the stream."""
    return b"".join(iter(lambda: client.recv(1), b"")) if size < 0 else _exactly(client, size)


def _exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := client.recv(size - len(data))):
        data += more
    return data


def test_without_faults_every_byte_passes_and_the_end_too(
    relay: Relay, client: socket.socket
) -> None:
    data = bytes(range(256)) * 4096
    threading.Thread(target=client.sendall, args=(data,)).start()
    assert _exactly(client, len(data)) == data
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    assert relay.replies.passed == relay.requests.passed == len(data)
    wait_for(lambda: relay.connections == 0, "the relay lets go of it")
