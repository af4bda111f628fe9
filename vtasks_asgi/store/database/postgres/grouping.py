"""The PostgreSQL store's groups: its verbs, on the pool or the caller's connection."""

from collections.abc import Callable, Sequence
from functools import partial

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.database.postgres import groups
from vtasks_asgi.store.database.postgres.bell import Ringer
from vtasks_asgi.store.database.postgres.plan import Plan
from vtasks_asgi.store.database.postgres.runner import Runner
from vtasks_asgi.store.doorbell import Doorbell
from vtasks_asgi.store.groups import GroupRecord, Mark, NewGroup, Opened


class PostgresGroups:
    """See ``store.groups``. What it asks of the store is below."""

    _runner: Runner
    _ringer: Ringer
    _doorbell: Doorbell

    def _sync[T](self, make: Callable[[], Plan[T]], *, transaction: bool = False) -> T:
        raise NotImplementedError

    def _push_here[T](
        self, messages: Sequence[Message], make: Callable[[list[str]], Plan[T]], *, steps: bool
    ) -> T:
        raise NotImplementedError

    async def open_group(self, group: NewGroup, messages: Sequence[Message]) -> Opened:
        queues = {message.queue for message in messages}
        words = self._ringer.words(queues)
        opened = await self._runner.run(
            lambda: groups.open_group(group, messages, words), transaction=True
        )
        self._doorbell.ring(queues)
        return opened

    def open_group_sync(self, group: NewGroup, messages: Sequence[Message]) -> Opened:
        make = partial(groups.open_group, group, messages)
        return self._push_here(messages, make, steps=True)

    async def mark_members(
        self, marks: Sequence[Mark], *, waiting_only: bool = False
    ) -> list[GroupRecord]:
        make = partial(groups.mark, marks, waiting_only=waiting_only)
        return await self._runner.run(make, transaction=True)

    def mark_members_sync(self, marks: Sequence[Mark]) -> list[GroupRecord]:
        return self._sync(lambda: groups.mark(marks, waiting_only=False), transaction=True)

    async def close_groups(self, ids: Sequence[str]) -> None:
        await self._runner.run(lambda: groups.close(ids))

    def close_groups_sync(self, ids: Sequence[str]) -> None:
        self._sync(lambda: groups.close(ids))

    async def find_group(self, id: str, *, members: bool = False) -> GroupRecord | None:
        return await self._runner.run(lambda: groups.find(id, members=members))

    def find_group_sync(self, id: str, *, members: bool = False) -> GroupRecord | None:
        return self._sync(lambda: groups.find(id, members=members))

    async def sweep_groups(self, limit: int, *, patience: float) -> list[GroupRecord]:
        return await self._runner.run(lambda: groups.sweep(limit, patience), transaction=True)
