"""Runs alone what has been in hand at several crashes, so that a poison message is found out.

A worker that dies takes every message in hand along, and each of them is charged with the crash.
Without this, neighbours that are in hand again at every crash would be given up with the culprit.
"""

import asyncio
from collections.abc import Callable

from vtasks_asgi.core.clock import Clock
from vtasks_asgi.runtime.execute import Executions
from vtasks_asgi.runtime.settle import Settler
from vtasks_asgi.runtime.slots import Slots
from vtasks_asgi.store.base import Claim

#: From so many crashes on a message is suspected.
SUSPECTED_AFTER = 2
#: Seconds a suspect waits for the others to end before it runs beside them after all.
ALONE_WITHIN = 30.0
#: Seconds of its run that nothing else is started.
ALONE_FOR = 30.0
_LOOK_EVERY = 0.02


class Suspects:
    """Shared by all consumers of a runtime: while a suspect runs alone, none of them claims."""

    def __init__(self, executions: Executions, settler: Settler, clock: Clock) -> None:
        self._executions = executions
        self._settler = settler
        self._clock = clock
        self._turn = asyncio.Lock()
        self._clear = asyncio.Event()
        self._clear.set()
        #: Called before a suspect runs: who keeps messages that do not run lets go of them.
        self.give_way: list[Callable[[], None]] = []

    @property
    def clear(self) -> bool:
        """May others be started?"""
        return self._clear.is_set()

    async def wait_clear(self) -> None:
        """Return when others may be started."""
        await self._clear.wait()

    async def run(self, claim: Claim, slots: Slots) -> None:
        """Run it once the others have ended, and return when others may be started again.

        Cancelled before it was started, it stays in hand for the drain to release.
        """
        execution = self._executions.hold(claim, slots)
        await self.alone(lambda: self._executions.begin(execution), lambda: execution.over)

    async def alone(self, begin: Callable[[], object], over: Callable[[], bool]) -> None:
        """``begin`` it once the others have ended, and return when it is over, or takes long."""
        async with self._turn:
            self._clear.clear()
            try:
                for give_way in self.give_way:
                    give_way()
                await self._until(lambda: self._executions.running == 0, ALONE_WITHIN)
                # What has ended and is not written yet would be charged with the crash as well.
                await self._settler.flush(ALONE_WITHIN)
                begin()
                await self._until(over, ALONE_FOR)
            finally:
                self._clear.set()

    async def _until(self, condition: Callable[[], bool], limit: float) -> None:
        deadline = self._clock.monotonic() + limit
        # Looking again and again spares every other run the price of telling.
        while not condition() and self._clock.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_EVERY)
