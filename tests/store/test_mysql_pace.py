"""A snapshot held open keeps index entries of messages long gone; claims must not drown in them."""

import pytest

from tests.fakes import FakeClock
from tests.store.helpers import DONE, QUEUE, ids, message, push, settle, take
from tests.store.mariadb import opened, other_transaction
from vtasks_asgi.core.outcome import Retry
from vtasks_asgi.store.base import Settlement
from vtasks_asgi.store.database.mysql import pace
from vtasks_asgi.store.database.mysql.pace import RATIO, SLOW, SURE, Pace


def look(it: Pace, clock: FakeClock, seconds: float) -> bool:
    """Look, if it is time to; was it?"""
    if not it.begin():
        return False
    clock.advance(seconds)
    it.end()
    return True


def test_quick_looks_never_wait_and_one_stall_proves_nothing() -> None:
    clock = FakeClock()
    it = Pace(clock.monotonic)
    for seconds in [0.0, SLOW * 2, SLOW * 2, 0.0] * 10:
        assert look(it, clock, seconds)


def test_slow_looks_take_a_sixth_of_the_time_and_quick_ones_end_that() -> None:
    clock = FakeClock()
    it = Pace(clock.monotonic)
    for _ in range(SURE):
        assert look(it, clock, 1.0)
    for _ in range(3):
        clock.advance(RATIO - 0.1)
        assert not look(it, clock, 1.0)
        clock.advance(0.2)
        assert look(it, clock, 1.0)
    clock.advance(RATIO + 0.1)
    assert look(it, clock, 0.0)
    assert look(it, clock, 0.0)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look is slow, and the next one far away."""
    monkeypatch.setattr(pace, "SLOW", -1.0)
    monkeypatch.setattr(pace, "SURE", 1)
    monkeypatch.setattr(pace, "RATIO", 1e9)


@pytest.mark.usefixtures("slow", "mariadb_tables")
async def test_between_looks_everything_pushed_is_claimed_in_the_order_of_pushing() -> None:
    async with opened() as store:
        low = await push(store, 3, priority=-1)
        high = await push(store, 3, priority=1)
        assert ids(await take(store, 1)) == high[:1]  # the look
        assert ids(await take(store, 2)) == low[:2]
        later = await push(store, 2, priority=5)
        assert ids(await take(store)) == [low[2], *high[1:], *later]
        assert await take(store) == []


@pytest.mark.usefixtures("slow", "mariadb_tables")
async def test_what_comes_back_is_found_by_the_next_look() -> None:
    async with opened() as store:
        [first] = await push(store)
        [claim] = await take(store)  # the look
        [second] = await push(store)
        assert ids(await take(store)) == [second]
        await settle(store, claim, Retry(b"h", 0.0))
        assert await take(store) == []
        store._paces[QUEUE].ready = Pace()
        assert ids(await take(store)) == [first]


@pytest.mark.slow
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
