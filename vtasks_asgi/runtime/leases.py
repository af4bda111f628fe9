"""Keeps leases alive from a thread of its own, so that a blocked loop loses none.

The same thread asks which of what is in hand was cancelled, and watches the loop: it pings it,
measures how long the answer takes, and names the message whose task is in the way.
"""

import asyncio
import logging
import threading
from contextlib import suppress

from vtasks_asgi.core.clock import Clock
from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.execute import Executions
from vtasks_asgi.store.base import Claim, FullStore

logger = logging.getLogger("vtasks_asgi")

PING_EVERY = 0.5
#: A loop that has not answered for so long is reported while it is still blocked (seconds).
BLOCKED_AFTER = 1.0
#: Seconds in hand after which it is asked whether a message was cancelled, and between two times.
LOOK_AFTER = LOOK_EVERY = 1.0
#: Seconds between two log lines about one outage.
COMPLAIN_EVERY = 10.0
BATCH = 500


class Leases:
    """A service whose work happens in a thread."""

    def __init__(
        self,
        store: FullStore,
        executions: Executions,
        *,
        lease: float,
        events: Events,
        clock: Clock,
    ) -> None:
        self._store = store
        self._executions = executions
        self._lease = lease
        self._events = events
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._ping_sent: float | None = None
        self._culprit: str | None = None
        self._silent_until = float("-inf")
        self._stop = threading.Event()
        #: The last measured delay of the loop, in seconds.
        self.lag = 0.0

    async def run(self) -> None:
        self._stop = threading.Event()
        ended = self._loop.create_future()
        thread = threading.Thread(
            target=self._keep, args=(self._stop, ended), name="vtasks-leases", daemon=True
        )
        thread.start()
        try:
            await ended
        finally:
            self._stop.set()

    # -- the thread

    def _keep(self, stop: threading.Event, ended: "asyncio.Future[None]") -> None:
        try:
            renew_at = look_at = 0.0
            while not stop.wait(min(PING_EVERY, self._lease / 4)):
                self._ping()
                if self._clock.monotonic() >= renew_at:
                    renew_at = self._clock.monotonic() + self._renew()
                if self._clock.monotonic() >= look_at:
                    look_at = self._clock.monotonic() + LOOK_EVERY
                    self._look_for_cancelled()
        except Exception as error:  # noqa: BLE001 - raised again in the service
            self._tell(_fail, ended, error)

    def _renew(self) -> float:
        """Extend what has been held for a while; the seconds until the next time."""
        now = self._clock.monotonic()
        held = [
            e.claim
            for e in self._executions.in_hand()
            if e.held_since <= now - self._lease / 4 and (e.over or now < e.renew_until)
        ]
        try:
            for start in range(0, len(held), BATCH):
                lost = self._store.extend(held[start : start + BATCH], lease=self._lease)
                if lost:
                    self._tell(self._lose, lost)
        except StoreError as error:
            self._complain(error)
            return min(1.0, self._lease / 4)
        return self._lease / 3

    def _look_for_cancelled(self) -> None:
        oldest = self._clock.monotonic() - LOOK_AFTER
        held = [
            each.claim
            for each in self._executions.in_hand()
            if each.held_since <= oldest and not (each.over or each.claim.cancelled)
        ]
        with suppress(StoreError):  # renewing meets the same error and tells of it
            for start in range(0, len(held), BATCH):
                if marked := self._store.cancelled(held[start : start + BATCH]):
                    self._tell(self._cancel, marked)

    def _complain(self, error: StoreError) -> None:
        now = self._clock.monotonic()
        if now >= self._silent_until and not self._stop.is_set():
            self._silent_until = now + COMPLAIN_EVERY
            logger.error("Leases could not be renewed, trying again: %s", error)

    def _ping(self) -> None:
        now = self._clock.monotonic()
        if self._ping_sent is None:
            self._ping_sent, self._culprit = now, None
            self._tell(self._pong)
        elif now - self._ping_sent > BLOCKED_AFTER and self._culprit is None:
            self._culprit = self._executions.culprit() or "unknown"
            logger.warning(
                "The event loop has been blocked for %.1f s by the task %s",
                now - self._ping_sent,
                self._culprit,
            )

    def _tell(self, callback: object, *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)  # type: ignore[arg-type]
        except RuntimeError:
            self._stop.set()  # the loop is closed: there is nothing left to keep

    # -- the loop

    def _pong(self) -> None:
        if self._ping_sent is not None:
            self.lag = self._clock.monotonic() - self._ping_sent
            self._events.loop_lag(self.lag, self._culprit)
            self._ping_sent = None

    def _lose(self, lost: list[Claim]) -> None:
        self._events.stale(lost)
        self._executions.lose(lost)

    def _cancel(self, marked: list[Claim]) -> None:
        self._events.cancelled(marked)
        self._executions.cancel(marked)


def _fail(ended: "asyncio.Future[None]", error: BaseException) -> None:
    if not ended.done():
        ended.set_exception(error)
