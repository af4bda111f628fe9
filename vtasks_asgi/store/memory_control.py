"""The reference store's answers to operators: cancelling and pausing."""

from collections.abc import Sequence

from vtasks_asgi.core.outcome import CANCELLED
from vtasks_asgi.store.base import Claim, State
from vtasks_asgi.store.control import Cancel, Cancellation, Paused
from vtasks_asgi.store.memory_inspect import Entry, MemoryInspector, in_force


class MemoryControl(MemoryInspector):
    """See ``store.control``."""

    async def cancel(self, ids: Sequence[str]) -> Cancellation:
        return self.cancel_sync(ids)

    def cancel_sync(self, ids: Sequence[str]) -> Cancellation:
        cancellation = Cancellation()
        with self._work() as now:
            for id in dict.fromkeys(ids):
                entry = self._entries.get(id)
                cancellation.outcomes[id] = self._cancel(entry, now)
                if entry and cancellation.outcomes[id] is Cancel.CANCELLED:
                    queue = entry.record.queue
                    cancellation.buried[queue] = cancellation.buried.get(queue, 0) + 1
            for queue in cancellation.buried:
                if evicted := self._evict(queue):
                    cancellation.evicted[queue] = evicted
        return cancellation

    def _cancel(self, entry: Entry | None, now: float) -> Cancel:
        if entry is None or (entry.expires_at is not None and entry.expires_at <= now):
            return Cancel.UNKNOWN
        if entry.record.state in (State.DEAD, State.DONE):
            return Cancel.FINISHED
        if entry.record.state is State.RUNNING:
            entry.cancelled = True
            return Cancel.ASKED
        self._bury(entry, CANCELLED, now)
        return Cancel.CANCELLED

    def cancelled(self, claims: Sequence[Claim]) -> list[Claim]:
        with self._work():
            return [claim for claim in claims if (it := self._held(claim)) and it.cancelled]

    async def pause(self, queue: str, until: float | None = None) -> None:
        with self._work():
            self._paused.queues[queue] = until

    async def resume(self, queue: str) -> bool:
        with self._work() as now:
            was = queue in in_force(self._paused.queues, now)
            self._paused.queues.pop(queue, None)
            self._ring(queue)
            return was

    async def pause_task(self, task: str, until: float | None = None) -> None:
        with self._work():
            self._paused.tasks[task] = until

    async def resume_task(self, task: str) -> bool:
        with self._work() as now:
            was = task in in_force(self._paused.tasks, now)
            self._paused.tasks.pop(task, None)
            return was

    async def paused(self) -> Paused:
        with self._work() as now:
            queues, tasks = self._paused.queues, self._paused.tasks
            return Paused(in_force(queues, now), in_force(tasks, now))

    async def paused_tasks(self) -> set[str]:
        return set((await self.paused()).tasks)

    # -- helpers

    def _held(self, claim: Claim) -> Entry | None:
        entry = self._entries.get(claim.id)
        return entry if entry and entry.token == claim.token else None

    def _bury(self, entry: Entry, reason: str, now: float) -> None:
        entry.record.state, entry.record.reason = State.DEAD, reason
        self._finish(entry, now)

    def _finish(self, entry: Entry, now: float) -> None:
        """It comes after all that has ended before."""
        self._let_key_go(entry, now)
        entry.record.finished_at, entry.seq, entry.since = now, next(self._seqs), now
        entry.cancelled = False

    def _evict(self, queue: str) -> int:
        dead = self._of(queue, State.DEAD)
        return self._delete(dead[: max(0, len(dead) - self._cap)])
