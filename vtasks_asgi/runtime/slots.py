"""Slots: how many calls may be in execution at once. Nothing is claimed without a free one."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Slots:
    """A counter that can be waited on.

    Those who wait are served in turn, so that neither single messages nor batches of one pool can
    keep the others from running.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.busy = 0
        #: How many have been given back since the start.
        self.given = 0
        #: Called, if set, after one was given back.
        self.on_free: Callable[[], None] | None = None
        self._promised = 0
        self._freed = asyncio.Event()
        self._line = asyncio.Lock()

    @property
    def free(self) -> int:
        return self.size - self.busy - self._promised

    @property
    def wanted(self) -> bool:
        """Does anybody wait for one?"""
        return self._line.locked()

    def promise(self, count: int) -> None:
        """So many more are about to be taken for what is being claimed; ``redeem`` them later."""
        self._promised += count

    def redeem(self, count: int) -> None:
        """So many that were promised have been taken by now, or will not be."""
        self._promised -= count
        self._freed.set()

    def take(self) -> None:
        self.busy += 1

    def give(self) -> None:
        self.busy -= 1
        self.given += 1
        self._freed.set()
        if self.on_free:
            self.on_free()

    async def wait_free(self) -> None:
        """Return when at least one slot is free, and nobody has waited for longer.

        It stays free until the caller awaits something else.
        """
        async with self._line:
            while self.free < 1:
                self._freed.clear()
                await self._freed.wait()
