"""Completes groups whose members have ended where no worker saw it.

A member that waits may be cancelled or purged, a dead letter may be evicted before its worker has
marked it, and whoever opened a group may have died before all was pushed.
"""

import asyncio
import random

from vtasks_asgi.runtime.follow import Followers
from vtasks_asgi.store.base import FullStore, Record, State
from vtasks_asgi.store.groups import GroupRecord, Mark, Member

#: Seconds between two sweeps of one process, and between two looks at one group.
EVERY, PATIENCE = 15.0, 60.0
#: Groups looked at by one sweep.
LIMIT = 20


class Sweeper:
    """``run`` is a service of the runtime."""

    def __init__(self, store: FullStore, followers: Followers) -> None:
        self._store = store
        self._followers = followers

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY * (0.75 + random.random() / 2))
            await self.sweep(PATIENCE, LIMIT)

    async def sweep(self, patience: float, limit: int) -> int:
        """Look at groups nobody has looked at for so many seconds; how many are complete now."""
        looked_at = await self._store.sweep_groups(limit, patience=patience)
        complete = [record for record in looked_at if not record.pending]
        pending = [record for record in looked_at if record.members]
        if pending:
            found = await self._store.lookup([id for each in pending for id in each.members])
            # Who was marked meanwhile is marked: its record may be gone because it has ended well.
            marks = [mark for each in pending for mark in _ends(each, found)]
            if marks:
                complete += await self._store.mark_members(marks, waiting_only=True)
        if complete:
            await self._followers.finish(complete)
        return len(complete)


def _ends(group: GroupRecord, found: dict[str, Record]) -> list[Mark]:
    """The members that have ended: well, as dead letters, or without a trace."""
    marks = []
    for id in group.members:
        state = found[id].state if id in found else State.DEAD
        if state is State.DONE:
            marks.append(Mark(group.id, id, Member.SUCCEEDED))
        elif state is State.DEAD:
            marks.append(Mark(group.id, id, Member.FAILED))
    return marks
