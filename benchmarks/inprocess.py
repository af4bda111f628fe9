"""An ASGI application called in this process: its lifespan, and requests to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

type Event = dict[str, Any]
type App = Callable[[Event, Any, Any], Awaitable[None]]

VERSION = {"version": "3.0", "spec_version": "2.3"}


@asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[None]:
    """``app`` started up, and shut down on leaving.

    Raises:
        RuntimeError: it answered anything but "complete".
    """
    orders: asyncio.Queue[Event] = asyncio.Queue()
    answers: asyncio.Queue[Event] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": VERSION, "state": {}}
    living = asyncio.ensure_future(app(scope, orders.get, answers.put))
    await _ask("startup", orders, answers)
    yield
    await _ask("shutdown", orders, answers)
    await living


async def _ask(step: str, orders: asyncio.Queue[Event], answers: asyncio.Queue[Event]) -> None:
    await orders.put({"type": f"lifespan.{step}"})
    answer = await asyncio.wait_for(answers.get(), 30)
    if answer["type"] != f"lifespan.{step}.complete":
        raise RuntimeError(f"the application answered {answer}")


def http_scope(path: str, query: str = "") -> Event:
    """A GET as a server would describe it."""
    return {
        "type": "http",
        "asgi": VERSION,
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 40_000),
        "server": ("127.0.0.1", 8_000),
        "state": {},
    }


async def get(app: App, path: str, query: str = "") -> bytes:
    """The body of a 200 answer.

    Raises:
        RuntimeError: another status.
    """
    body = bytearray()
    status = 0
    asked = False

    async def receive() -> Event:
        nonlocal asked
        if asked:  # The client stays; a disconnect would cancel the view.
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: Event) -> None:
        nonlocal status
        status = event.get("status", status)
        body.extend(event.get("body", b""))

    await app(http_scope(path, query), receive, send)
    if status != 200:
        raise RuntimeError(f"{path} was answered with {status}: {bytes(body[:500])!r}")
    return bytes(body)
