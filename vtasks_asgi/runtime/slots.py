"""Slots: how many messages may be in execution at once. Nothing is claimed without a free one."""

import asyncio


class Slots:
    """A counter that can be waited on."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.busy = 0
        self._freed = asyncio.Event()

    @property
    def free(self) -> int:
        return self.size - self.busy

    def take(self) -> None:
        self.busy += 1

    def give(self) -> None:
        self.busy -= 1
        self._freed.set()

    async def wait_free(self) -> None:
        """Return when at least one slot is free."""
        while self.busy >= self.size:
            self._freed.clear()
            await self._freed.wait()
