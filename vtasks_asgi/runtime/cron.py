"""The scheduler: every process runs one, none is special.

Each look asks the store for its time and for the last tick of every schedule, and pushes what is
due. The store takes a tick only if it is later than the last one it has, together with its
message, so that whoever comes second pushes nothing. ``docs/decisions/0002`` has the reasons.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID, uuid5

from vtasks_asgi.core.clock import Clock
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.schedule import Entry
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.store.base import Store, Ticked

logger = logging.getLogger("vtasks_asgi")

#: Seconds between looks at the most, so that a jump of the store's clock is noticed.
MAX_SLEEP = 60.0
# A timer may fire a little early; looking again at once would find the clock unmoved.
MIN_SLEEP = 0.001
#: Seconds between two complaints about the same entry.
COMPLAIN_EVERY = 300.0

_NAMESPACE = UUID("5f3c1b0e-7a54-4c0b-9d0e-2f6a1c8e4b17")


def tick_id(name: str, at: float) -> str:
    """The id of a tick's message, 32 hex digits: the same in every process (UUID version 5)."""
    return uuid5(_NAMESPACE, f"{at:.6f} {name}").hex


class Cron:
    """A service of the runtime: ``run`` until cancelled.

    ``make_message`` turns an entry and a tick (epoch seconds) into the message to push, its id
    from ``tick_id``. If it raises, the tick is left for a later look or another process, and the
    other entries go on. ``announce`` is awaited with each message that was pushed. An error of
    the store leaves ``run``: the supervisor starts it again, and nothing is lost or doubled.
    """

    def __init__(
        self,
        store: Store,
        entries: Sequence[Entry],
        make_message: Callable[[Entry, float], Message],
        events: Events,
        clock: Clock,
        *,
        announce: Callable[[Message], Awaitable[None]] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._entries = entries
        self._make_message = make_message
        self._events = events
        self._clock = clock
        self._announce = announce
        self._sleep = sleep
        self._behind = 0.0  # The store's time is the monotonic clock's plus this.
        self._seen = 0.0
        self._upcoming: dict[str, float] = {}
        self._complained: dict[str, float] = {}
        #: The last recorded tick of each entry, in epoch seconds, as of the last look.
        self.last_ticks: dict[str, float] = {}
        #: Entries whose message could not be made at the last try.
        self.failing: set[str] = set()

    async def run(self) -> None:
        """Look, sleep until the next boundary, look again."""
        while True:
            await self._sleep(await self.look())

    async def look(self) -> float:
        """Push what is due; returns how many seconds to sleep before the next look."""
        ticks = await self._store.ticks([entry.name for entry in self._entries])
        self._behind = ticks.now - self._clock.monotonic()
        self.last_ticks = dict(ticks.last)
        if ticks.now < self._seen:  # The store's clock stepped back: forget what was ahead.
            self._upcoming.clear()
        self._seen = ticks.now
        for entry in self._entries:
            if entry.name in ticks.last and ticks.now < self._upcoming.get(entry.name, 0.0):
                continue
            self._upcoming.pop(entry.name, None)
            if await self._bring_up_to_date(entry, ticks.now, ticks.last.get(entry.name)):
                self._upcoming[entry.name] = entry.schedule.next_boundary(ticks.now)
        return self._until_next(ticks.now)

    def ages(self) -> dict[str, float]:
        """Seconds since the last recorded tick of each entry, by the store's clock."""
        return {name: self._now() - at for name, at in self.last_ticks.items()}

    async def _bring_up_to_date(self, entry: Entry, now: float, last: float | None) -> bool:
        """Fire, record or skip; False if the entry needs another try before its next boundary."""
        newest = entry.schedule.last_boundary(now)
        if last is None:
            return await self._record(entry, now if newest is None else newest)
        due = entry.due(now, last)
        for at in due:
            if not await self._fire(entry, at):
                return False
        if not due and newest is not None and newest > last:
            if await self._record(entry, newest):
                logger.warning("Schedule %r: a missed tick was skipped, too old", entry.name)
        elif last > entry.schedule.next_boundary(now) and self._may_complain(entry):
            logger.warning(
                "Schedule %r: its last tick is %.0f s in the future, so nothing fires until then."
                " Was a clock wrong? Renaming the entry starts it afresh",
                entry.name,
                last - now,
            )
        return True

    async def _fire(self, entry: Entry, at: float) -> bool:
        """Push one tick, unless another process did, or an earlier one's message holds its unique
        key; False if its message cannot be made."""
        message = self._message(entry, at)
        if message is None:
            return False
        ticked = await self._store.push_tick(entry.name, at, message)
        self.last_ticks[entry.name] = at
        self._events.tick(entry.name, max(0.0, self._now() - at), ticked)
        if ticked is Ticked.SKIPPED:
            self._events.duplicate(entry.task, message.queue, 1)
        elif ticked is Ticked.FIRED:
            self._events.submitted(entry.task, message.queue, 1)
            if self._announce is not None:
                await self._announce(message)
        return True

    async def _record(self, entry: Entry, at: float) -> bool:
        """Record a tick without firing it; False if another process was first."""
        self.last_ticks[entry.name] = at
        return await self._store.push_tick(entry.name, at, None) is not Ticked.LATE

    def _message(self, entry: Entry, at: float) -> Message | None:
        """The message of a tick, None if it cannot be made: a bad entry stops only itself."""
        try:
            message = self._make_message(entry, at)
        except Exception:
            self.failing.add(entry.name)
            if self._may_complain(entry):
                logger.exception("Schedule %r: its message cannot be made", entry.name)
            return None
        if entry.name in self.failing:
            self.failing.discard(entry.name)
            self._complained.pop(entry.name, None)
            logger.info("Schedule %r works again", entry.name)
        return message

    def _may_complain(self, entry: Entry) -> bool:
        now = self._clock.monotonic()
        if now - self._complained.get(entry.name, now - COMPLAIN_EVERY) < COMPLAIN_EVERY:
            return False
        self._complained[entry.name] = now
        return True

    def _until_next(self, looked_at: float) -> float:
        """Seconds until the first boundary after the look; ticks that came due meanwhile wait 0."""
        boundaries = (
            self._upcoming.get(entry.name) or entry.schedule.next_boundary(looked_at)
            for entry in self._entries
        )
        delay = min(boundaries, default=looked_at + MAX_SLEEP) - self._now()
        return min(max(delay, MIN_SLEEP), MAX_SLEEP)

    def _now(self) -> float:
        """The store's time, as far as it can be told without asking."""
        return self._clock.monotonic() + self._behind
