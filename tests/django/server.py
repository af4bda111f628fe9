"""A server that is not there: speaks ASGI to an application, within the test's own loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.asgi import get_asgi_application

from tests.django.helpers import PATIENCE
from vtasks_asgi.lifespan import ASGIApp
from vtasks_asgi.runtime.active import current

if TYPE_CHECKING:
    from vtasks_asgi.runtime.runtime import Runtime

type Event = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Event]]
type Send = Callable[[Event], Awaitable[None]]


@dataclass
class Answer:
    """What came back of a request."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Server:
    """``startup`` and ``shutdown`` speak lifespan, ``request`` plain HTTP."""

    def __init__(self, app: ASGIApp, *, root_path: str = "") -> None:
        self._app = app
        self._root_path = root_path
        self._to_app: asyncio.Queue[Event] = asyncio.Queue()
        self._from_app: asyncio.Queue[Event] = asyncio.Queue()
        self._lifespan: asyncio.Task[None] | None = None
        self.state: dict[str, Any] = {}

    async def startup(self) -> Event:
        """Ask the application to start; its answer."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self.state}
        if self._root_path:
            scope["root_path"] = self._root_path
        call = self._app(scope, self._to_app.get, self._from_app.put)
        self._lifespan = asyncio.ensure_future(call)
        return await self._ask("lifespan.startup")

    async def shutdown(self) -> Event:
        """Ask it to stop; its answer, after which it must have ended."""
        answer = await self._ask("lifespan.shutdown")
        assert self._lifespan is not None
        async with asyncio.timeout(PATIENCE):
            await self._lifespan
        return answer

    async def _ask(self, kind: str) -> Event:
        self._to_app.put_nowait({"type": kind})
        async with asyncio.timeout(PATIENCE):
            return await self._from_app.get()

    async def request(
        self, path: str, method: str = "GET", *, headers: list[tuple[bytes, bytes]] | None = None
    ) -> Answer:
        """One request, in a context of its own as servers do it."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": self._root_path + path,
            "raw_path": (self._root_path + path).encode(),
            "root_path": self._root_path,
            "query_string": b"",
            "headers": [(b"host", b"testserver"), *(headers or [])],
            "client": ("127.0.0.1", 1),
            "server": ("testserver", 80),
            "state": dict(self.state),
        }
        sent = await self.call(scope, [{"type": "http.request", "body": b"", "more_body": False}])
        start = sent[0]
        return Answer(
            start["status"],
            {name.lower(): value for name, value in start["headers"]},
            b"".join(event.get("body", b"") for event in sent[1:]),
        )

    async def call(self, scope: Event, received: list[Event]) -> list[Event]:
        """Call the application with any scope; what it sent."""
        sent: list[Event] = []
        incoming = iter(received)

        async def receive() -> Event:
            if (event := next(incoming, None)) is None:
                await asyncio.Event().wait()  # the client stays connected and says nothing
            assert event is not None
            return event

        async def send(event: Event) -> None:
            sent.append(event)

        async def call() -> None:
            await self._app(scope, receive, send)

        async with asyncio.timeout(PATIENCE):
            await asyncio.create_task(call())
        return sent


@asynccontextmanager
async def serving(app: ASGIApp, **options: Any) -> AsyncIterator[Server]:
    """A server that has started the application, and will have stopped it."""
    server = Server(app, **options)
    answer = await server.startup()
    assert answer == {"type": "lifespan.startup.complete"}
    try:
        yield server
    finally:
        answer = await server.shutdown()
    assert answer == {"type": "lifespan.shutdown.complete"}


class Inner:
    """An application with a lifespan of its own; answers as told and remembers what it saw."""

    def __init__(self, *, startup: str = "complete", shutdown: str = "complete") -> None:
        self._answers = {"startup": startup, "shutdown": shutdown}
        self.seen: list[str] = []
        self.scopes: list[Event] = []
        self.active: list[Runtime | None] = []

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.active.append(current.get())
        if scope["type"] != "lifespan":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        for phase in ("startup", "shutdown"):
            event = await receive()
            self.seen.append(event["type"])
            answer: Event = {"type": f"lifespan.{phase}.{self._answers[phase]}"}
            if self._answers[phase] == "failed":
                answer["message"] = f"{phase} went wrong"
            if phase == "startup":
                scope["state"]["from the application"] = True
            await send(answer)
            if answer["type"].endswith("failed"):
                return


def django() -> ASGIApp:
    return get_asgi_application()
