"""Requests from any thread: a connection that blocks, one a server, guarded by a lock."""

import os
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

from libvalkey import ProtocolError

from vtasks_asgi.core.errors import StoreError, StoreUnavailable
from vtasks_asgi.store.valkey import handshake
from vtasks_asgi.store.valkey.errors import NotSent, ReplyError, is_replica, mapped
from vtasks_asgi.store.valkey.topology import Consult, Send, Step, Steps, exchange, topology
from vtasks_asgi.store.valkey.url import Address, Endpoint
from vtasks_asgi.store.valkey.wire import ASKING, INCOMPLETE, Request, reader

_READ = 65536


class _Wire:
    """One connection. After any error it is closed, for a reply might still be on its way."""

    def __init__(self, endpoint: Endpoint, address: Address, deadline: float) -> None:
        self._name = str(address)
        self._reader = reader()
        try:
            self._sock = _socket(endpoint, address, deadline)
        except OSError as error:
            raise NotSent(f"Valkey at {address} cannot be reached: {error}") from error

    def ask(self, payloads: Sequence[bytes], deadline: float) -> list[Any]:
        """Send these commands; their replies, errors among them."""
        try:
            self._sock.settimeout(_left(deadline))
            self._sock.sendall(b"".join(payloads))
            return [self._reply(deadline) for _ in payloads]
        except TimeoutError:
            self.close()
            raise StoreUnavailable(f"Valkey at {self._name} did not answer in time") from None
        except (OSError, ProtocolError) as error:
            self.close()
            raise StoreUnavailable(
                f"Valkey at {self._name} broke the connection: {error}"
            ) from error
        except BaseException:
            self.close()
            raise

    def _reply(self, deadline: float) -> Any:
        while (reply := self._reader.gets()) is INCOMPLETE:
            self._sock.settimeout(_left(deadline))
            data = self._sock.recv(_READ)
            if not data:
                raise ConnectionResetError("closed by the server")
            self._reader.feed(data)
        return reply

    def close(self) -> None:
        self._sock.close()

    def __del__(self) -> None:
        # A store that was never opened is closed by nobody.
        if hasattr(self, "_sock"):
            self._sock.close()


def _socket(endpoint: Endpoint, address: Address, deadline: float) -> socket.socket:
    timeout = _left(deadline)
    if not address.port:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(timeout)
            sock.connect(address.host)
        except BaseException:
            sock.close()
            raise
        return sock
    sock = socket.create_connection(address, timeout)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if endpoint.tls is None:
            return sock
        return endpoint.tls.context().wrap_socket(sock, server_hostname=address.host)
    except BaseException:
        sock.close()
        raise


def _left(deadline: float) -> float:
    """Seconds until the deadline, a moment at least: 0 would mean not to wait at all."""
    return max(deadline - time.monotonic(), 0.001)


class Blocking:
    """``call`` from any thread; ``timeout`` in seconds bounds each call.

    After a fork nothing inherited is used: the parent's connections are the parent's.
    """

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._topology = topology(self._endpoint)
        self._wires: dict[Address, _Wire] = {}
        self._primary: Address | None = None

    def switched(self, primary: Address | None) -> None:
        """Another server is the primary, as a sentinel says. Never waits for the lock."""
        self._primary = primary

    def call(self, request: Request) -> Any:
        """The reply.

        Raises:
            StoreError: there is none, or it is an error.
        """
        return self.calls([request])[0]

    def calls(self, requests: Sequence[Request]) -> list[Any]:
        """The replies to several requests, one after the other, on one turn of the lock."""
        if self._pid != os.getpid():
            self._begin()
        if not self._lock.acquire(timeout=self._timeout):
            raise StoreUnavailable(f"Valkey did not answer within {self._timeout:g} s")
        try:
            self._switch()
            return [self._walk(request) for request in requests]
        finally:
            self._lock.release()

    def _switch(self) -> None:
        primary, self._primary = self._primary, None
        if primary is not None:
            self._topology.learn(0, primary)
            for address in [it for it in self._wires if it != primary]:
                self._wires.pop(address).close()

    def _walk(self, request: Request) -> Any:
        deadline = time.monotonic() + self._timeout
        steps: Steps[Any] = exchange(self._topology, request, self._timeout)
        try:
            step = next(steps)
            while True:
                step = steps.send(self._answer(step, deadline))
        except StopIteration as end:
            return end.value

    def _answer(self, step: Step, deadline: float) -> Any:
        try:
            if isinstance(step, Send):
                answer = self._send(step, deadline)
                if is_replica(answer):
                    self._wires.pop(step.address).close()
                return answer
            if isinstance(step, Consult):
                return self._consult(step, deadline)
        except StoreUnavailable as error:
            return error
        time.sleep(step.seconds)
        return None

    def _send(self, step: Send, deadline: float) -> Any:
        wire = self._wires.get(step.address)
        if wire is None:
            wire = self._connect(step.address, handshake.greeting(self._endpoint), deadline)
            self._wires[step.address] = wire
        try:
            if not step.asking:
                return wire.ask([step.payload], deadline)[0]
            allowed, answer = wire.ask([ASKING, step.payload], deadline)
        except BaseException:
            del self._wires[step.address]
            raise
        if isinstance(allowed, ReplyError):
            raise mapped(allowed)
        return answer

    def _consult(self, step: Consult, deadline: float) -> Any:
        words = handshake.sentinel_greeting(self._endpoint)
        wire = self._connect(step.address, words, deadline)
        try:
            return wire.ask([step.payload], deadline)[0]
        finally:
            wire.close()

    def _connect(self, address: Address, words: list[bytes], deadline: float) -> _Wire:
        wire = _Wire(self._endpoint, address, deadline)
        try:
            if words:
                handshake.check(self._endpoint, words, wire.ask(words, deadline))
        except StoreError as error:
            wire.close()
            raise NotSent(str(error)) from error
        return wire

    def close(self) -> None:
        """Let go of every connection. ``call`` opens new ones."""
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            for wire in self._wires.values():
                wire.close()
            self._wires.clear()
