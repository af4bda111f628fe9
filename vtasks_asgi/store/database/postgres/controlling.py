"""The PostgreSQL store's cancelling and pausing, on the pool or the caller's connection."""

from collections.abc import Sequence

from vtasks_asgi.store.base import Claim
from vtasks_asgi.store.control import Cancellation, Paused
from vtasks_asgi.store.database.pauses import QUEUE, TASK
from vtasks_asgi.store.database.postgres import control
from vtasks_asgi.store.database.postgres.grouping import PostgresGroups


class PostgresControl(PostgresGroups):
    """See ``store.control``."""

    _cap: int

    async def cancel(self, ids: Sequence[str]) -> Cancellation:
        return await self._runner.run(lambda: control.cancel(ids, self._cap), transaction=True)

    def cancel_sync(self, ids: Sequence[str]) -> Cancellation:
        return self._sync(lambda: control.cancel(ids, self._cap), transaction=True)

    def cancelled(self, claims: Sequence[Claim]) -> list[Claim]:
        return self._runner.run_in_thread(lambda: control.cancelled(claims))

    async def pause(self, queue: str, until: float | None = None) -> None:
        await self._runner.run(lambda: control.pause(QUEUE, queue, until))

    async def resume(self, queue: str) -> bool:
        words = self._ringer.words({queue})
        was = await self._runner.run(lambda: control.resume(QUEUE, queue, words))
        self._doorbell.ring({queue})
        return was

    async def pause_task(self, task: str, until: float | None = None) -> None:
        await self._runner.run(lambda: control.pause(TASK, task, until))

    async def resume_task(self, task: str) -> bool:
        return await self._runner.run(lambda: control.resume(TASK, task))

    async def paused(self) -> Paused:
        return await self._runner.run(control.paused)

    async def paused_tasks(self) -> set[str]:
        return set((await self.paused()).tasks)
