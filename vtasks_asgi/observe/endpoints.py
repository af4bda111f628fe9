"""The pages as ASGI, in front of Django.

The wrapper's whole cost for a request that is not ours is one dictionary look-up::

    if scope["path"] in endpoints.own and (handler := endpoints.match(scope)) is not None:
        await handler(scope, receive, send)

``own`` has the bare paths. A server may also put ``root_path`` in front of ``path``; the wrapper
therefore calls ``mount(scope.get("root_path", ""))`` once, for the first HTTP request and before
matching it (a lifespan scope has no ``root_path``), and the prefixed paths join ``own``. Where
``root_path`` is empty nothing is added and nothing is ever compared.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from vtasks_asgi.observe.pages import HEALTH_PATH, METRICS_PATH, Pages, Reply, Request
from vtasks_asgi.runtime.health import Health

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

type Scope = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
type Handler = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Some proxies let clients choose root_path, so only so many are remembered.
MAX_MOUNTS = 8


class Endpoints:
    """Answers the metrics and health paths; see ``observe.pages.Pages`` for the arguments.

    ``own`` maps every path that may be ours to its handler.
    """

    def __init__(
        self,
        health: Callable[[], Health],
        *,
        metrics_path: str | None = METRICS_PATH,
        health_path: str | None = HEALTH_PATH,
        token: str | None = None,
        debug: bool = False,
        registry: "CollectorRegistry | None" = None,
    ) -> None:
        self._pages = Pages(
            health,
            metrics_path=metrics_path,
            health_path=health_path,
            token=token,
            debug=debug,
            registry=registry,
        )
        self._handlers: dict[str, Handler] = {
            path: self._handler(path) for path in self._pages.paths
        }
        self.own: dict[str, Handler] = dict(self._handlers)
        self._mounts: set[str] = {""}
        # One thread renders metrics: scrapes queue up behind each other, never on the loop.
        self._renderer = ThreadPoolExecutor(1, thread_name_prefix="vtasks-metrics")

    def mount(self, root_path: str) -> None:
        """Let ``own`` also have the paths below ``root_path``. Cheap and idempotent."""
        root = root_path.rstrip("/")
        if root not in self._mounts and len(self._mounts) <= MAX_MOUNTS:
            self._mounts.add(root)
            self.own |= {root + path: handler for path, handler in self._handlers.items()}

    def match(self, scope: Scope) -> Handler | None:
        """The handler of an HTTP request for one of our pages, None for everything else.

        The path must be exactly ours as it was sent, below ``root_path`` whether or not the
        server repeats that in ``path``.
        """
        if scope["type"] != "http":
            return None
        path: str = scope["path"]
        if path not in self._handlers:
            path = path.removeprefix((scope.get("root_path") or "").rstrip("/"))
        handler = self._handlers.get(path)
        if handler is None or not _literal(scope, path):
            return None
        return handler

    def _handler(self, path: str) -> Handler:
        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            reply = await self._reply(_request(scope, path))
            await _send(reply, scope, receive, send)

        return handle

    async def _reply(self, request: Request) -> Reply:
        refusal = self._pages.refusal(request)
        if refusal is not None:
            return refusal
        if request.path != self._pages.metrics_path:
            return self._pages.page(request)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._renderer, self._pages.page, request)


def _literal(scope: Scope, path: str) -> bool:
    """Whether the client spelled our part of the path out, without percent escapes."""
    raw: bytes | None = scope.get("raw_path")
    return not raw or raw.partition(b"?")[0].endswith(path.encode("ascii"))


def _request(scope: Scope, path: str) -> Request:
    headers: list[tuple[bytes, bytes]] = list(scope.get("headers") or ())
    accept = b",".join(value for name, value in headers if name.lower() == b"accept")
    return Request(
        path,
        scope["method"],
        [value for name, value in headers if name.lower() == b"authorization"],
        accept.decode("latin-1"),
    )


async def _send(reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    # Imported at the first request for one of our pages: half a MiB other processes save.
    from starlette.responses import Response  # noqa: PLC0415

    body = b"" if scope["method"] == "HEAD" else reply.body
    response = Response(body, reply.status, reply.all_headers())
    await response(scope, receive, send)
