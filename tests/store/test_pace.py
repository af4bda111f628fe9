"""Index entries of messages long gone are in the way of claims, which must not drown in them."""

from typing import Any

import pytest

from tests.fakes import FakeClock
from tests.store.helpers import QUEUE, ids, push, settle, take
from vtasks_asgi.core.outcome import Retry
from vtasks_asgi.store.base import FullStore
from vtasks_asgi.store.database import pace
from vtasks_asgi.store.database.pace import RATIO, SLOW, SURE, Pace

#: Those that pace themselves.
ENGINES = pytest.mark.parametrize(
    "engine_kind",
    [pytest.param(name, marks=pytest.mark.server) for name in ("mariadb", "postgres")],
    indirect=True,
)


def look(it: Pace, clock: FakeClock, seconds: float) -> bool:
    """Look, if it is time to; was it?"""
    if not it.begin():
        return False
    clock.advance(seconds)
    it.end()
    return True


@pytest.fixture
def as_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests know no slow looks."""
    monkeypatch.setattr(pace, "SLOW", SLOW)


@pytest.mark.usefixtures("as_shipped")
def test_quick_looks_never_wait_and_one_stall_proves_nothing() -> None:
    clock = FakeClock()
    it = Pace(clock.monotonic)
    for seconds in [0.0, SLOW * 2, SLOW * 2, 0.0] * 10:
        assert look(it, clock, seconds)


@pytest.mark.usefixtures("as_shipped")
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


def forget_that_it_was_slow(store: Any) -> None:
    store._paces[QUEUE].ready = Pace()


@ENGINES
@pytest.mark.usefixtures("slow")
async def test_between_looks_everything_pushed_is_claimed_in_the_order_of_pushing(
    store: FullStore,
) -> None:
    low = await push(store, 3, priority=-1)
    high = await push(store, 3, priority=1)
    assert ids(await take(store, 1)) == high[:1]  # the look
    assert ids(await take(store, 2)) == low[:2]
    later = await push(store, 2, priority=5)
    assert ids(await take(store)) == [low[2], *high[1:], *later]
    assert await take(store) == []


@ENGINES
@pytest.mark.usefixtures("slow")
async def test_what_comes_back_is_found_by_the_next_look(
    store: FullStore,
) -> None:
    [first] = await push(store)
    [claim] = await take(store)  # the look
    [second] = await push(store)
    assert ids(await take(store)) == [second]
    await settle(store, claim, Retry(b"h", 0.0))
    assert await take(store) == []
    forget_that_it_was_slow(store)
    assert ids(await take(store)) == [first]
