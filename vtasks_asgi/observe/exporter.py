"""Metrics and health over HTTP for a worker without a web server (``runworker --metrics-port``).

Threads of its own answer, so a scrape works while the event loop is busy. The server is the
standard library's, as in ``prometheus_client``, with bounds: one short request a connection, a
few connections at a time.
"""

import asyncio
import errno
import logging
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from vtasks_asgi.core.errors import VTasksError
from vtasks_asgi.observe.pages import Pages, Reply, Request
from vtasks_asgi.runtime.health import Health, Status

logger = logging.getLogger("vtasks_asgi.runtime")

#: Seconds a client may take over any one read or write.
CLIENT_TIMEOUT = 5.0
MAX_CONNECTIONS = 8

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"


class Exporter:
    """Serves ``pages`` from ``start`` until ``close``.

    Args:
        pages: what to serve.
        port: TCP port; 0 picks a free one (see ``port`` after ``start``).
        address: where to listen. The default is every interface when ``pages`` has a token,
            and this machine only (127.0.0.1) when it has none.
    """

    def __init__(self, pages: Pages, port: int, address: str | None = None) -> None:
        self._pages = pages
        self.port = port
        self.address = address or (EVERYWHERE if pages.guarded else LOOPBACK)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen, and serve from a thread.

        Raises:
            VTasksError: the port is taken or not allowed, or the address is not this machine's.
        """
        try:
            self._server = _Server(self.address, self.port, self._pages)
        except (OSError, OverflowError) as error:
            raise VTasksError(_cannot_listen(self.address, self.port, error)) from error
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="vtasks-exporter", daemon=True
        )
        self._thread.start()
        logger.info(
            "Metrics and health on http://%s:%d (%s)",
            f"[{self.address}]" if ":" in self.address else self.address,
            self.port,
            "a token is required" if self._pages.guarded else "no token is configured",
        )

    def close(self) -> None:
        """Stop listening and let the port go. Takes up to half a second; legal twice."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self._server = self._thread = None

    async def aclose(self) -> None:
        """``close`` without holding up the loop."""
        await asyncio.to_thread(self.close)


def through_loop(
    health: Callable[[], Health], loop: asyncio.AbstractEventLoop, *, patience: float = 2.0
) -> Callable[[], Health]:
    """``health``, asked on its own loop from any other thread.

    A loop that does not answer within ``patience`` seconds is told as degraded, with the problem
    ``loop_blocked``; a closed one as stopped.
    """

    def ask() -> Health:
        answer: Future[Health] = Future()
        try:
            loop.call_soon_threadsafe(_answer, answer, health)
        except RuntimeError:
            return Health(Status.STOPPED)
        try:
            return answer.result(patience)
        except TimeoutError:
            return Health(Status.DEGRADED, ["loop_blocked"])

    return ask


def _answer(answer: Future[Health], health: Callable[[], Health]) -> None:
    try:
        answer.set_result(health())
    except Exception as error:  # noqa: BLE001 - raised again by whoever asked
        answer.set_exception(error)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Two workers sharing a port would be scraped in turns, each time with other numbers.
    allow_reuse_port = False

    def __init__(self, address: str, port: int, pages: Pages) -> None:
        self.pages = pages
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the name service for this machine's full name.
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread could be started
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if isinstance(sys.exception(), OSError):
            logger.debug("A client of the metrics port gave up", exc_info=True)
        else:
            logger.exception("The metrics port could not answer")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = CLIENT_TIMEOUT

    def answer(self) -> None:
        reply = self._reply()
        self.send_response(reply.status)
        for name, value in reply.all_headers().items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def _reply(self) -> Reply:
        pages = self.server.pages
        request = Request(
            self.path.partition("?")[0],
            self.command,
            [value.encode("latin-1") for value in self.headers.get_all("authorization", [])],
            ",".join(self.headers.get_all("accept", [])),
        )
        if request.path not in pages.paths:
            return Reply(404, b"Not Found\n")
        return pages.refusal(request) or pages.page(request)

    def version_string(self) -> str:
        return "vtasks"

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not news."""


def _cannot_listen(address: str, port: int, error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        reason = "is taken; stop what listens there, or choose another"
    elif number == errno.EACCES:
        reason = "may not be opened by this user; choose one above 1023"
    else:
        reason = f"cannot be opened ({error}); check address and port"
    return f"port {port} on {address}: {reason} (VTASKS_METRICS_PORT or --metrics-port)"
