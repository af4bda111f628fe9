"""The MySQL store's groups: its verbs, on the store's threads or the caller's connection."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from django.db import connections

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.database.mysql import groups
from vtasks_asgi.store.database.mysql.link import mapped_errors
from vtasks_asgi.store.database.mysql.step import Step
from vtasks_asgi.store.database.mysql.worker import Work, Worker
from vtasks_asgi.store.doorbell import Doorbell
from vtasks_asgi.store.groups import GroupRecord, Mark, NewGroup, Opened


def nothing() -> None:
    """There is nobody to tell."""


class Threads(Protocol):
    """Those of an open store."""

    producer: Worker
    consumer: Worker


class MySQLGroups:
    """See ``store.groups``. What it asks of the store is below."""

    _alias: str
    _doorbell: Doorbell

    @property
    def _open(self) -> Threads:
        raise NotImplementedError

    def _produce[T](self, work: Work[T], committed: Callable[[], None] = nothing) -> T:
        raise NotImplementedError

    async def _read[T](self, query: Work[T]) -> T:
        raise NotImplementedError

    def _renewed[T](self, attempt: Callable[[], T]) -> T:
        raise NotImplementedError

    def _look_here[T](self, query: Work[T]) -> T:
        """Read on the caller's own connection."""

        def look() -> T:
            with mapped_errors(), connections[self._alias].cursor() as cursor:
                return query(Step.begin(cursor))

        return look() if connections[self._alias].in_atomic_block else self._renewed(look)

    async def open_group(self, group: NewGroup, messages: Sequence[Message]) -> Opened:
        work = partial(groups.open_group, group=group, messages=messages)
        opened = await self._open.producer.submit(work)
        self._doorbell.ring({message.queue for message in messages})
        return opened

    def open_group_sync(self, group: NewGroup, messages: Sequence[Message]) -> Opened:
        ring = partial(self._doorbell.ring, {message.queue for message in messages})
        return self._produce(partial(groups.open_group, group=group, messages=messages), ring)

    async def mark_members(
        self, marks: Sequence[Mark], *, waiting_only: bool = False
    ) -> list[GroupRecord]:
        work = partial(groups.mark, marks=marks, waiting_only=waiting_only)
        return await self._open.consumer.submit(work)

    def mark_members_sync(self, marks: Sequence[Mark]) -> list[GroupRecord]:
        return self._produce(partial(groups.mark, marks=marks, waiting_only=False))

    async def close_groups(self, ids: Sequence[str]) -> None:
        await self._open.consumer.submit(lambda step: groups.close(step, ids))

    def close_groups_sync(self, ids: Sequence[str]) -> None:
        self._produce(lambda step: groups.close(step, ids))

    async def find_group(self, id: str, *, members: bool = False) -> GroupRecord | None:
        return await self._read(partial(groups.find, uid=id, members=members))

    def find_group_sync(self, id: str, *, members: bool = False) -> GroupRecord | None:
        return self._look_here(partial(groups.find, uid=id, members=members))

    async def sweep_groups(self, limit: int, *, patience: float) -> list[GroupRecord]:
        return await self._open.consumer.submit(lambda step: groups.sweep(step, limit, patience))
