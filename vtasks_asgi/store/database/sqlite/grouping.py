"""The SQLite store's groups: its verbs, on the writer or the caller's connection."""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial

from django.db import connections

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.database.sqlite import groups
from vtasks_asgi.store.database.sqlite.connections import mapped_errors
from vtasks_asgi.store.database.sqlite.writer import Work, Writer
from vtasks_asgi.store.doorbell import Doorbell
from vtasks_asgi.store.groups import GroupRecord, Mark, NewGroup, Opened


def nothing() -> None:
    """There is nobody to tell."""


class SQLiteGroups:
    """See ``store.groups``. What it asks of the store is below."""

    _alias: str
    _now: Callable[[], float]
    _doorbell: Doorbell

    @property
    def _open_writer(self) -> Writer:
        raise NotImplementedError

    def _write_here[T](self, work: Work[T], committed: Callable[[], None] = nothing) -> T:
        raise NotImplementedError

    async def _read[T](self, query: Callable[[sqlite3.Connection], T]) -> T:
        raise NotImplementedError

    async def open_group(self, group: NewGroup, messages: Sequence[Message]) -> Opened:
        now = self._now()
        work = partial(groups.open_group, group=group, messages=messages, now=now)
        opened = await self._open_writer.submit(work)
        self._doorbell.ring({message.queue for message in messages})
        return opened

    def open_group_sync(self, group: NewGroup, messages: Sequence[Message]) -> Opened:
        now = self._now()
        ring = partial(self._doorbell.ring, {message.queue for message in messages})
        work = partial(groups.open_group, group=group, messages=messages, now=now)
        return self._write_here(work, ring)

    async def mark_members(
        self, marks: Sequence[Mark], *, waiting_only: bool = False
    ) -> list[GroupRecord]:
        now = self._now()
        work = partial(groups.mark, marks=marks, waiting_only=waiting_only, now=now)
        return await self._open_writer.submit(work)

    def mark_members_sync(self, marks: Sequence[Mark]) -> list[GroupRecord]:
        now = self._now()
        return self._write_here(partial(groups.mark, marks=marks, waiting_only=False, now=now))

    async def close_groups(self, ids: Sequence[str]) -> None:
        now = self._now()
        await self._open_writer.submit(lambda conn: groups.close(conn, ids, now))

    def close_groups_sync(self, ids: Sequence[str]) -> None:
        self._write_here(lambda conn: groups.close(conn, ids, self._now()))

    async def find_group(self, id: str, *, members: bool = False) -> GroupRecord | None:
        return await self._read(partial(groups.find, uid=id, members=members, now=self._now()))

    def find_group_sync(self, id: str, *, members: bool = False) -> GroupRecord | None:
        connection = connections[self._alias]
        with mapped_errors():
            connection.ensure_connection()
            return groups.find(connection.connection, id, members=members, now=self._now())

    async def sweep_groups(self, limit: int, *, patience: float) -> list[GroupRecord]:
        now = self._now()
        return await self._open_writer.submit(
            lambda conn: groups.sweep(conn, limit, patience=patience, now=now),
            peek=lambda conn: groups.due(conn, now, patience),
        )
