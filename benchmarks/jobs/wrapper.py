"""What the worker wrapper adds to a request: an application with and without it, in turns.

Both are called in this process, the worker running idle beside them. ``inner`` says which
application: ``trivial`` answers at once, ``django`` is Django's handler with an empty view.
"""

import time
from typing import Any

from django.core.asgi import get_asgi_application

from benchmarks.inprocess import App, Event, http_scope, lifespan
from benchmarks.sides.base import Side

HELLO = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}


async def _trivial(scope: Event, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise ValueError("no lifespan here")
    await send(HELLO)
    await send({"type": "http.response.body", "body": b"hello"})


async def _receive() -> Event:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(event: Event) -> None:
    """Nobody listens."""


async def _microseconds(app: App, count: int) -> float:
    """Time per request of a block of them."""
    begin = time.perf_counter()
    for _ in range(count):
        await app(http_scope("/"), _receive, _send)
    return (time.perf_counter() - begin) / count * 1e6


async def main(side: Side, params: dict[str, Any]) -> dict[str, Any]:
    inner: App = _trivial if params["inner"] == "trivial" else get_asgi_application()
    wrapped = side.wrap(inner)
    count = params["count"]
    pairs = []
    async with lifespan(wrapped):
        await _microseconds(inner, count)
        await _microseconds(wrapped, count)
        for number in range(params["blocks"]):
            if number % 2:
                bare = await _microseconds(inner, count)
                pairs.append((bare, await _microseconds(wrapped, count)))
            else:
                full = await _microseconds(wrapped, count)
                pairs.append((await _microseconds(inner, count), full))
    return {"pairs": pairs}
