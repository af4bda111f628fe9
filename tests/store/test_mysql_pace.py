"""A snapshot held open keeps index entries of messages long gone; claims must not drown in them."""

import pytest

from tests.store.helpers import DONE, QUEUE, ids, message, push, take
from tests.store.mariadb import opened, other_transaction
from vtasks_asgi.store.base import Settlement
from vtasks_asgi.store.database import pace
from vtasks_asgi.store.database.pace import Pace


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("mariadb_tables")
async def test_with_a_snapshot_held_open_looks_become_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is for: 40,000 messages come and go, and every entry of theirs stays."""
    monkeypatch.setattr(pace, "SLOW", 0.01)
    begins: list[bool] = []
    begin = Pace.begin

    def spy(self: Pace) -> bool:
        time_to_look = begin(self)
        if self is store._paces[QUEUE].ready:
            begins.append(time_to_look)
        return time_to_look

    async with opened() as store:
        with other_transaction() as other:
            other("ROLLBACK")
            other("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            other("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            for _ in range(20):
                await store.push([message() for _ in range(2000)])
                while claims := await take(store, 500):
                    await store.settle([Settlement(each, DONE) for each in claims])
            monkeypatch.setattr(Pace, "begin", spy)
            for _ in range(50):
                [pushed] = await push(store)
                assert ids(await take(store)) == [pushed]
    assert begins.count(False) > begins.count(True)
