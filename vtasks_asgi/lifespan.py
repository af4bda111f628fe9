"""The wrapped application's own lifespan, run inside ours."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

type Scope = MutableMapping[str, Any]
type Event = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Event]]
type Send = Callable[[Event], Awaitable[None]]
# Any, for Django's handler wants exactly a dict and Starlette any mutable mapping.
type ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]


class InnerLifespan:
    """``startup`` and ``shutdown`` return the application's answer, None when it has no lifespan.

    An application that raises before it answers ``startup`` (Django does) does not speak lifespan,
    which the ASGI specification allows.
    """

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        self._app = app
        self._scope = scope
        self._to_app: asyncio.Queue[Event] = asyncio.Queue()
        self._from_app: asyncio.Queue[Event] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> Event | None:
        """Start it; a ``lifespan.startup.failed`` event means the server must not start."""
        self._task = asyncio.create_task(self._run(), name="vtasks-inner-lifespan")
        answer = await self._ask("lifespan.startup")
        if answer is None:
            self._task = None
        return answer

    async def shutdown(self) -> Event | None:
        """Stop it, if it is running."""
        return await self._ask("lifespan.shutdown") if self._task else None

    async def _run(self) -> None:
        await self._app(self._scope, self._to_app.get, self._from_app.put)

    async def _ask(self, kind: str) -> Event | None:
        assert self._task is not None
        self._to_app.put_nowait({"type": kind})
        answer = asyncio.ensure_future(self._from_app.get())
        await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done() and not self._from_app.empty():
            await asyncio.sleep(0)
        if answer.done():
            return answer.result()
        answer.cancel()
        if not self._task.cancelled() and (error := self._task.exception()):
            if kind == "lifespan.shutdown":
                return {"type": "lifespan.shutdown.failed", "message": str(error)}
        return None
