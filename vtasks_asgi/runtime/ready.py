"""Messages claimed for slots that are about to become free, so that none waits for a claim.

They are as many as become free during a claim, so none where tasks take long or slots are left.
What has lain here for ``PATIENCE`` is given back: others may be idle.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from vtasks_asgi.core.clock import Clock
from vtasks_asgi.runtime.execute import Executions
from vtasks_asgi.runtime.settle import Settler
from vtasks_asgi.runtime.slots import Slots
from vtasks_asgi.runtime.suspects import Suspects
from vtasks_asgi.store.base import Claim

#: Seconds a message waits here for a slot before it is given back.
PATIENCE = 0.05
#: Seconds over which is counted how many slots become free, at the least.
WINDOW = 0.005
#: The weight of the latest count in the moving average.
SMOOTHING = 0.5
#: Seconds added to a claim's: a loop's timers end together, a whole millisecond's at a time.
MARGIN = 0.002


class Ready:
    """Of one pool. They hold no slot; each takes the first that nobody else waits for."""

    def __init__(
        self,
        slots: Slots,
        executions: Executions,
        settler: Settler,
        suspects: Suspects,
        clock: Clock,
        most: int,
    ) -> None:
        self._slots = slots
        self._executions = executions
        self._settler = settler
        self._suspects = suspects
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        #: Each with the monotonic times at which it is given back, and no longer ours for certain.
        self._claims: deque[tuple[Claim, float, float]] = deque()
        self._turn: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._most = most
        self._target = 0
        #: Slots given back a second, and when it was last looked how many there had been.
        self._rate = 0.0
        self._seen, self._seen_at = slots.given, clock.monotonic()
        slots.on_free = self._soon
        suspects.give_way.append(self.let_go)

    def __len__(self) -> int:
        return len(self._claims)

    @property
    def room(self) -> int:
        """For how many more it is time to ask; none until half of them are gone."""
        room = self._target - len(self._claims)
        return room if room * 2 >= self._target else 0

    def expect(self, took: float) -> None:
        """A claim has taken so many seconds: be ready for what becomes free during the next one."""
        now, given = self._clock.monotonic(), self._slots.given
        if (elapsed := now - self._seen_at) >= WINDOW:
            self._rate += SMOOTHING * ((given - self._seen) / elapsed - self._rate)
            self._seen, self._seen_at = given, now
        self._target = min(int(self._rate * (took + MARGIN)), self._most)

    def add(self, claims: Sequence[Claim], stale_at: float) -> None:
        """Keep these until there are slots; ``stale_at``, monotonic, nobody has renewed them."""
        if not claims:
            return
        until = self._clock.monotonic() + PATIENCE
        self._claims.extend((claim, until, stale_at) for claim in claims)
        if self._timer is None:
            self._timer = self._loop.call_later(PATIENCE, self._tire)
        self.start()

    def start(self) -> None:
        """Start as many as there are free slots."""
        self._turn = None
        while self._claims and self._slots.free > 0 and self._may_start:
            claim, _, stale_at = self._claims.popleft()
            if self._clock.monotonic() > stale_at:
                self._executions.release([claim])
            else:
                self._executions.start(claim, self._slots)

    @property
    def _may_start(self) -> bool:
        return self._settler.has_room and self._suspects.clear

    def let_go(self) -> None:
        """Give all of them back."""
        self._executions.release(claim for claim, _, _ in self._claims)
        self._claims.clear()

    def _soon(self) -> None:
        # Not at once: a task that never awaits would start the next one within itself. Nor if
        # somebody is in line for the slot, were it our own fetcher, who starts these first.
        if self._claims and self._turn is None:
            self._turn = self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if not self._slots.wanted:
            self.start()

    def _tire(self) -> None:
        """Give back what has waited for too long."""
        self._timer, now = None, self._clock.monotonic()
        while self._claims and self._claims[0][1] <= now:
            self._executions.release([self._claims.popleft()[0]])
        if self._claims:
            self._timer = self._loop.call_later(self._claims[0][1] - now, self._tire)
