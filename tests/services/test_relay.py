"""The relay's faults really fire."""

import socket
import socketserver
import threading
import time
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
    data = b""
    while len(data) < size and (more := client.recv(size - len(data))):
        data += more
    return data


def test_without_faults_every_byte_passes_and_the_end_too(
    relay: Relay, client: socket.socket
) -> None:
    data = bytes(range(256)) * 4096
    threading.Thread(target=client.sendall, args=(data,)).start()
    assert receive(client, len(data)) == data
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    assert relay.replies.passed == relay.requests.passed == len(data)
    wait_for(lambda: relay.connections == 0, "the relay lets go of it")


@pytest.mark.parametrize("way", ["requests", "replies"])
def test_a_delay_holds_bytes_back_and_lets_none_overtake(
    relay: Relay, client: socket.socket, way: str
) -> None:
    getattr(relay, way).delay = 0.3
    started = time.monotonic()
    client.sendall(b"slow ")
    wait_for(lambda: getattr(relay, way).taken == 5, "it is under way")
    getattr(relay, way).delay = 0.0
    client.sendall(b"fast")
    assert receive(client, 9) == b"slow fast"
    assert time.monotonic() - started >= 0.3


def test_a_cut_resets_both_sides_and_welcomes_a_new_client(
    relay: Relay, client: socket.socket
) -> None:
    client.sendall(b"x")
    assert receive(client, 1) == b"x"
    relay.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with closing(connect(relay)) as second:
        second.sendall(b"y")
        assert receive(second, 1) == b"y"


def test_swallowed_replies_are_lost_though_the_request_was_heard(
    relay: Relay, client: socket.socket
) -> None:
    relay.replies.swallow = True
    client.sendall(b"lost")
    wait_for(lambda: relay.replies.dropped == 4, "the reply is dropped")
    assert heard == [b"lost"]
    relay.heal()
    client.sendall(b"kept")
    assert receive(client, 4) == b"kept"


@pytest.mark.parametrize("way", ["requests", "replies"])
def test_so_many_bytes_pass_and_then_it_is_cut(
    relay: Relay, client: socket.socket, way: str
) -> None:
    getattr(relay, way).cut_after = 3
    client.sendall(b"abcdef")
    if way == "replies":
        assert receive(client, 3) == b"abc"
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    expected = b"abcdef" if way == "replies" else b"abc"
    wait_for(lambda: b"".join(heard) == expected, "the server hears what has passed")
    wait_for(lambda: relay.connections == 0, "the relay lets go of it")


def test_half_closed_the_client_sees_the_end_and_is_still_heard(
    relay: Relay, client: socket.socket
) -> None:
    client.sendall(b"1")
    assert receive(client, 1) == b"1"
    relay.half_close()
    assert client.recv(1) == b""
    client.sendall(b"2")
    wait_for(lambda: heard == [b"1", b"2"], "the second request is heard")


def ask_nobody(relay: Relay) -> None:
    """The reset may come while connecting or afterwards."""
    with closing(connect(relay)) as client:
        client.recv(1)


def test_who_is_refused_is_reset_until_it_heals(relay: Relay) -> None:
    relay.refuse = True
    with pytest.raises(ConnectionResetError):
        ask_nobody(relay)
    relay.heal()
    with closing(connect(relay)) as welcome:
        welcome.sendall(b"x")
        assert receive(welcome, 1) == b"x"


def test_a_server_that_is_gone_resets_its_clients(relay: Relay) -> None:
    with socket.socket() as nobody:  # bound, so that nobody else gets the port, but deaf
        nobody.bind(("127.0.0.1", 0))
        relay.target = nobody.getsockname()[1]
        with pytest.raises(ConnectionResetError):
            ask_nobody(relay)
