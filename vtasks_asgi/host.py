"""The runtime's life inside a server process, from lifespan startup to shutdown."""

import asyncio
import gc
import logging
import signal
from collections.abc import Callable
from typing import Any

from vtasks_asgi import granian_stop
from vtasks_asgi.lifespan import ASGIApp, Event, InnerLifespan, Receive, Scope, Send
from vtasks_asgi.runtime.health import Health, Status
from vtasks_asgi.runtime.runtime import Runtime

logger = logging.getLogger("vtasks_asgi")

#: Seconds beyond the drain budget after which shutdown no longer waits for the runtime.
SHUTDOWN_MARGIN = 2.0


class Host:
    """One server process: the runtime's life between startup and shutdown."""

    def __init__(
        self,
        application: ASGIApp,
        *,
        make_runtime: Callable[[], Runtime],
        embedded: bool,
        drain_timeout: float,
    ) -> None:
        self._application = application
        self._make_runtime = make_runtime
        self._embedded = embedded
        self._drain_timeout = drain_timeout
        self._started = False
        self._life: asyncio.Task[None] | None = None
        self.runtime: Runtime | None = None
        self.seen = False

    def health(self) -> Health:
        """The runtime's health, or why there is none."""
        if self.runtime is not None:
            return self.runtime.health()
        if not self._started:
            return Health(Status.STOPPED, ["lifespan_not_run"])
        return Health(Status.OK if not self._embedded else Status.STOPPED)

    def first_request(self) -> None:
        """Notice a server that serves without ever having run lifespan."""
        self.seen = True
        if not self._started:
            logger.error(
                "A request arrived before ASGI lifespan startup, so no tasks run in this process."
                " Use a server and an interface that speak lifespan, such as"
                " 'granian --interface asgi', or run 'manage.py runworker'."
            )

    async def lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak lifespan with the server; whatever happens, it gets an answer."""
        await receive()
        inner = InnerLifespan(self._application, scope)
        if failure := await self._start(inner):
            await send(failure)
            return
        restore = self._chain_signals()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        restore()
        await send(await self._finish(inner))

    async def _start(self, inner: InnerLifespan) -> Event | None:
        """Start the application, then the runtime; the failure to report, if any."""
        answer = await inner.startup()
        if answer is not None and answer["type"] == "lifespan.startup.failed":
            return answer
        try:
            if self._embedded:
                self.runtime = self._make_runtime()
        except Exception as error:
            logger.exception("The task runtime cannot start")
            await inner.shutdown()
            return {"type": "lifespan.startup.failed", "message": f"vtasks_asgi: {error}"}
        if self.runtime is not None:
            self._life = asyncio.create_task(self.runtime.run(), name="vtasks-runtime")
            self._life.add_done_callback(_report_death)
        self._started = True
        # What start-up built stays: without this every full collection walks it, 18 ms on the loop.
        gc.collect()
        gc.freeze()
        return None

    async def _finish(self, inner: InnerLifespan) -> Event:
        """Drain and close the runtime, then stop the application."""
        if self.runtime is not None and self._life is not None:
            self.runtime.close()
            await asyncio.wait({self._life}, timeout=self._drain_timeout + SHUTDOWN_MARGIN)
            if not self._life.done():
                logger.error("The task runtime did not stop in time and is left behind")
                self._life.cancel()
        answer = await inner.shutdown()
        return answer or {"type": "lifespan.shutdown.complete"}

    def _chain_signals(self) -> Callable[[], None]:
        """Learn of a stop signal at once, and leave the server's own handler in charge.

        Servers send lifespan.shutdown only when the requests in flight have ended; claiming must
        stop before. ``loop.add_signal_handler`` would replace the server's handler.
        """
        previous: dict[int, Any] = {}
        if self.runtime is not None and granian_stop.heard():
            self.runtime.stop()  # the signal came while this process booted

        def handler(number: int, frame: Any) -> None:
            if self.runtime is not None:
                self.runtime.stop()
            previous[number](number, frame)

        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                if callable(known := signal.getsignal(number)):
                    previous[number] = known
                    signal.signal(number, handler)
        except ValueError:
            logger.info("Not in the main thread: stopping begins with lifespan shutdown")

        def restore() -> None:
            for number, known in previous.items():
                if signal.getsignal(number) is handler:
                    signal.signal(number, known)

        return restore


def _report_death(life: "asyncio.Task[None]") -> None:
    if not life.cancelled() and (error := life.exception()):
        logger.critical("The task runtime died; no tasks run in this process", exc_info=error)
