"""Stores what follows the end of messages, before that end itself is settled.

Invariant: a crash in between repeats the message, and with it this. Marks count once, and what is
pushed has an id that is derived from what it follows, so nothing of it is lost or doubled. A group
that is complete stays open until its callbacks are stored.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence

from vtasks_asgi.core.follow import Follow, callbacks, failure_of
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.outcome import Dead
from vtasks_asgi.store.base import Claim, FullStore, Receipt, Settlement
from vtasks_asgi.store.groups import GroupRecord, Mark, Member

#: Seconds within which nobody else takes care of a group that was completed here.
AT_ONCE = 30.0

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
        #: Groups that are complete, and since when that is known here.
        self._owed: dict[str, tuple[GroupRecord, float]] = {}

    async def before(self, settlements: Sequence[Settlement]) -> None:
        """Store what follows these, which have an outcome with ``follow``; ``after`` comes later.

        Callbacks wait for it, so that they find the results of all members.
        """
        marks, messages, ended = marks_of(settlements)
        completed = await self._store.mark_members(marks) if marks else []
        await self._push(messages)
        if ended:
            await self._store.close_groups(ended)
        now = self._now()
        self._owed |= {record.id: (record, now) for record in completed}

    @property
    def owing(self) -> bool:
        """Whether ``after`` has something to do for what came ``before``."""
        return bool(self._owed)

    async def after(self, cancelled: Iterable[Claim] = ()) -> None:
        """Those have been settled: enqueue the callbacks of the groups that are complete.

        If this process dies before, whoever sweeps does it. Of the ``cancelled`` the store has made
        dead letters.
        """
        dead = [(claim, failure_of(claim.body)) for claim in cancelled]
        if ends := [Settlement(claim, Dead(b"", "", follow)) for claim, follow in dead if follow]:
            await self.before(ends)
        if self._owed:
            owed = [await self._still(*each) for each in self._owed.values()]
            await self.finish([record for record in owed if record is not None])
            self._owed.clear()

    async def _still(self, record: GroupRecord, since: float) -> GroupRecord | None:
        """The record, unless somebody else may have finished it meanwhile, and has."""
        if self._now() - since < AT_ONCE:
            return record
        found = await self._store.find_group(record.id)
        return None if found is None or found.closed else found

    async def finish(self, records: Sequence[GroupRecord]) -> None:
        """These groups are complete: enqueue their callbacks, and close them."""
        now = self._now()
        await self._push([each for record in records for each in callbacks_of(record, now)])
        if records:
            await self._store.close_groups([record.id for record in records])

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
