"""Claims go on where the last one ended: what they miss, and for how long."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from tests.database import added_database
from tests.services.postgres import Postgres
from tests.store.helpers import QUEUE, ids, push, take
from vtasks_asgi.core.outcome import Release
from vtasks_asgi.store.base import Claim, Settlement
from vtasks_asgi.store.database.postgres import front
from vtasks_asgi.store.database.postgres.front import Front
from vtasks_asgi.store.database.postgres.store import PostgresStore

pytestmark = pytest.mark.server

ALIAS = "front"


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> Iterator[str]:
    """A database of this file's, which Django knows by the alias."""
    entry = postgres.database | {"NAME": postgres.create(ALIAS)}
    with added_database(ALIAS, entry):
        yield postgres.url.rpartition("/")[0] + f"/{ALIAS}"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim from the beginning only when there is a reason."""
    monkeypatch.setattr(front, "SHORTEST", 1000.0)
    monkeypatch.setattr(front, "LONGEST", 1000.0)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresStore]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE vtasks_message")
    store = PostgresStore(ALIAS)
    await store.open()
    yield store
    await store.aclose()


async def held_back(url: str, store: PostgresStore) -> tuple[str, list[str]]:
    """The id of a message that was not committed when three of the four pushed after it were
    claimed; and of these."""
    with psycopg.connect(url) as early:
        [(seq,)] = early.execute(
            "SELECT nextval(pg_get_serial_sequence('vtasks_message', 'seq'))"
        ).fetchall()
        pushed = await push(store, 4)
        assert ids(await take(store, 3)) == pushed[:3]
        early.execute(
            "INSERT INTO vtasks_message"
            " (seq, uid, queue, state, priority, created_at, attempt, crashes, body)"
            f" VALUES ({seq}, 'early', '{QUEUE}', 0, 0, 0, 0, 0, '')"
        )
    return "early", pushed


async def test_a_higher_priority_is_seen_at_once(url: str) -> None:
    async with opened(url) as store:
        pushed = await push(store, 4)
        assert ids(await take(store, 2)) == pushed[:2]
        [low] = await push(store, priority=-1)
        [high] = await push(store, priority=1)
        [same] = await push(store)
        assert ids(await take(store, 2)) == [high, pushed[2]]
        assert ids(await take(store, 3)) == [pushed[3], same, low]


async def test_what_is_committed_late_waits_for_a_claim_that_is_not_full(url: str) -> None:
    async with opened(url) as store:
        early, pushed = await held_back(url, store)
        assert ids(await take(store, 1)) == pushed[3:], "it goes on where the last one ended"
        assert ids(await take(store, 1)) == [early], "there was nothing, so it looked again"


async def test_what_is_committed_late_waits_for_some_time_at_most(url: str) -> None:
    async with opened(url) as store:
        early, pushed = await held_back(url, store)
        store._fronts[QUEUE]._until = 0.0
        assert ids(await take(store, 2)) == [early, *pushed[3:]]


async def test_what_this_process_puts_back_is_next(url: str) -> None:
    async with opened(url) as store:
        pushed = await push(store, 4)
        claims = await take(store, 2)
        await store.settle([Settlement(claims[0], Release())])
        assert ids(await take(store, 2)) == [pushed[0], pushed[2]]


def claim_of(handle: int, priority: int = 0) -> Claim:
    return Claim(str(handle), QUEUE, b"", priority, "token", 1, handle=handle)


def test_a_claim_that_looks_meanwhile_is_not_trusted() -> None:
    beginnings = Front(lambda: 0.0)
    look = beginnings.begin()
    beginnings.forget()
    beginnings.end(look, [claim_of(7)], 1)
    assert beginnings.begin().place is None


def test_the_beginning_is_looked_at_for_a_fiftieth_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    now = 100.0
    beginnings = Front(lambda: now)
    look = beginnings.begin()
    assert look.place is None
    now += 0.01
    beginnings.end(look, [claim_of(7), claim_of(3, priority=-1)], 2)
    now += 0.49
    look = beginnings.begin()
    assert look.place == (-1, 3)
    beginnings.end(look, [claim_of(9, priority=5)], 1)
    assert beginnings.begin().place == (-1, 3), "a place never goes up again"
    now += 0.02
    assert beginnings.begin().place is None
