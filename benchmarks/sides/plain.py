"""Django's own application for sides that have no all-in-one one: a lifespan is all it lacks."""

from typing import Any

from benchmarks.inprocess import App, Event


def wrap(app: App) -> App:
    """``app``, which also answers a server that starts and stops it."""

    async def wrapped(scope: Event, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            return await app(scope, receive, send)
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})

    return wrapped
