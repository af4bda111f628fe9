"""Stores what follows the end of messages, before that end itself is settled.

Invariant: a crash in between repeats the message, and with it this. Marks count once, and what is
pushed has an id that is derived from what it follows, so nothing of it is lost or doubled.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence

from vtasks_asgi.core.follow import Follow, callbacks, failure_of
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.outcome import Dead
from vtasks_asgi.store.base import Claim, FullStore, Receipt, Settlement
from vtasks_asgi.store.groups import GroupRecord, Mark, Member

type Push = Callable[[Sequence[Message]], Awaitable[list[Receipt]]]
type Announce = Callable[[Message], Awaitable[None]]


class Followers:
    """Of one store.

    Args:
        now: the time, in epoch seconds.
        announce: awaited with each message that is stored newly.
        push: in the place of the store's.
    """

    def __init__(
        self,
        store: FullStore,
        now: Callable[[], float],
        announce: Announce | None = None,
        push: Push | None = None,
    ) -> None:
        self._store = store
        self._now = now
        self._announce = announce
        self._push_all = push or store.push

    async def before(self, settlements: Sequence[Settlement]) -> None:
        """Store what follows these, which have an outcome with ``follow``."""
        marks, messages, ended = marks_of(settlements)
        completed = await self._store.mark_members(marks) if marks else []
        await self._push([*messages, *self._callbacks(completed)])
        await self._close(completed, ended)

    async def cancelled(self, claims: Iterable[Claim]) -> None:
        """The store has made dead letters of these."""
        dead = [(claim, failure_of(claim.body)) for claim in claims]
        ends = [Settlement(claim, Dead(b"", "", follow)) for claim, follow in dead if follow]
        if ends:
            await self.before(ends)

    async def finish(self, records: Sequence[GroupRecord]) -> None:
        """These groups are complete."""
        await self._push(self._callbacks(records))
        await self._close(records, [])

    def _callbacks(self, records: Iterable[GroupRecord]) -> list[Message]:
        return [each for record in records for each in callbacks_of(record, self._now())]

    async def _close(self, records: Iterable[GroupRecord], ended: Sequence[str]) -> None:
        if ids := [*(record.id for record in records), *ended]:
            await self._store.close_groups(ids)

    async def _push(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        receipts = await self._push_all(messages)
        if self._announce is not None:
            for message, receipt in zip(messages, receipts, strict=True):
                if receipt.stored:
                    await self._announce(message)


def marks_of(settlements: Iterable[Settlement]) -> tuple[list[Mark], list[Message], list[str]]:
    """What to mark and to push for these ends, and which groups' callbacks they are."""
    marks, messages, ended = [], [], []
    for each in settlements:
        follow: Follow | None = each.outcome.follow
        if follow is None:
            continue
        if follow.group is not None:
            dead = isinstance(each.outcome, Dead)
            state = Member.FAILED if dead else Member.SUCCEEDED
            marks.append(Mark(follow.group, each.claim.id, state))
        if follow.ended is not None:
            ended.append(follow.ended)
        if follow.then is not None:
            messages.append(follow.then)
    return marks, messages, ended


def callbacks_of(record: GroupRecord, now: float) -> list[Message]:
    """What is called when this group is complete."""
    return callbacks(record.id, record.plan, record.failed, now)
