"""PostgreSQL goes away, hesitates or contradicts: clear errors, nothing lost, no restart."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import psycopg
import pytest
from django.db import connections, transaction

from tests.database import added_database, empty_tables
from tests.missing import need
from tests.processes import wait_for
from tests.services.postgres import Postgres
from tests.store.helpers import (
    DONE,
    LEASE,
    QUEUE,
    ids,
    message,
    now,
    push,
    pushed_and_taken,
    reclaim,
    settle,
    stats,
    take,
)
from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.store.base import Claim, FullStore, Settlement
from vtasks_asgi.store.database.postgres import blocking, runner
from vtasks_asgi.store.database.postgres.store import PostgresStore
from vtasks_asgi.store.database.records import MIGRATE

pytestmark = [
    pytest.mark.faults,
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.timeout(180),
]

ALIAS = "mortal"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One server for this file; who has stopped it starts it again."""
    need(Postgres.name, Postgres.missing())
    with Postgres(max_connections=30) as it:
        yield it.start()


@pytest.fixture
def running(server: Postgres) -> Iterator[Postgres]:
    """It, with empty tables."""
    if not server.alive:
        server.start()
    with added_database(ALIAS, server.database):
        empty_tables(ALIAS)
        yield server
        if not server.alive:
            server.start()


@asynccontextmanager
async def opened() -> AsyncIterator[PostgresStore]:
    store = PostgresStore(ALIAS)
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


async def refused(verb: Callable[[], Awaitable[object]]) -> str:
    """The text of the StoreUnavailable that it raises, within the time a runtime waits."""
    with pytest.raises(StoreUnavailable) as raised:
        async with asyncio.timeout(30):
            await verb()
    return str(raised.value)


def verbs(store: FullStore, claim: Claim) -> list[Callable[[], Awaitable[object]]]:
    return [
        partial(push, store),
        partial(take, store),
        partial(settle, store, claim),
        partial(reclaim, store),
        partial(store.stats, [QUEUE]),
        partial(store.ticks, ["nightly"]),
        partial(store.push_tick, "nightly", 1.0, message()),
        partial(store.requeue, ["x"]),
        partial(store.prune, 10),
        partial(asyncio.to_thread, store.extend, [claim], lease=LEASE),
    ]


async def use_every_connection(store: PostgresStore) -> None:
    [pushed] = await push(store)
    [claim] = await take(store)
    assert claim.id == pushed
    assert await asyncio.to_thread(partial(store.extend, [claim], lease=LEASE)) == []
    assert pushed in await store.lookup([pushed])
    assert (await settle(store, claim)).lost == []


async def test_down_at_boot_and_open_once_it_is_there(running: Postgres) -> None:
    await asyncio.to_thread(running.stop)
    store = PostgresStore(ALIAS)
    assert "refused" in await refused(store.open)
    assert await refused(partial(push, store)) == "the store is not open"
    await asyncio.to_thread(running.start)
    await store.open()
    await use_every_connection(store)
    await store.aclose()


async def test_down_later_and_no_worker_has_to_be_restarted(
    running: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as store:
        claim = await pushed_and_taken(store)
        await asyncio.to_thread(running.kill)
        caplog.clear()
        for verb in verbs(store, claim):
            assert (await refused(verb)).startswith("PostgreSQL: ")
        await store.wait([QUEUE], 0.2)  # a hint needs no server
        assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
        assert len(caplog.records) < 12, "a line for each try would be a storm"
        await asyncio.to_thread(running.start)
        assert (await settle(store, claim)).lost == []  # what was acknowledged has survived
        await use_every_connection(store)


async def test_a_synchronous_push_meets_a_connection_of_yesterday(running: Postgres) -> None:
    store = PostgresStore(ALIAS)

    def stale() -> None:
        store.push_sync([message()])
        running.restart()
        store.push_sync([message()])
        running.restart()
        with pytest.raises(StoreUnavailable), transaction.atomic(using=ALIAS):
            store.push_sync([message()])  # the caller's work is lost with the connection
        connections[ALIAS].close()
        store.push_sync([message()])
        assert len(store.lookup_sync(["x"])) == 0
        connections[ALIAS].close()

    await asyncio.to_thread(stale)
    async with opened() as other:
        assert (await stats(other)).ready == 3


class Work:
    """Pushes and works until told to stop; knows what was acknowledged and what was settled."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self.settled: list[str] = []
        self.failures = 0
        self.stop = False

    async def produce(self, store: FullStore) -> None:
        while not self.stop:
            messages = [message() for _ in range(5)]
            with suppress(StoreUnavailable):
                await store.push(messages)
                self.acknowledged += [each.id for each in messages]
            await asyncio.sleep(0)

    async def consume(self, store: FullStore) -> None:
        while not self.stop:
            try:
                claimed = await store.claim(QUEUE, 20, worker="w", lease=1.0)
                claims = [*claimed.claims, *await store.reclaim(QUEUE, 20, worker="w", lease=1.0)]
                settled = await store.settle([Settlement(claim, DONE) for claim in claims])
            except StoreUnavailable:
                self.failures += 1
                continue
            lost = {claim.id for claim in settled.lost}
            self.settled += [claim.id for claim in claims if claim.id not in lost]
            await asyncio.sleep(0)

    async def finish(self, store: FullStore) -> None:
        """Everything acknowledged is settled or there, and nothing is settled twice."""
        left = await store.lookup(self.acknowledged)
        gone = set(self.acknowledged) - set(left)
        assert len(self.settled) == len(set(self.settled))
        # A settlement whose acknowledgement was lost on the way is settled all the same.
        assert len(gone - set(self.settled)) <= 20 * (self.failures + 20)
        await self.drain(store)
        assert await store.lookup(self.acknowledged) == {}

    async def drain(self, store: FullStore) -> None:
        async with asyncio.timeout(60):
            while (counted := await stats(store)).ready + counted.running:
                claims = [*await take(store), *await reclaim(store)]
                await store.settle([Settlement(claim, DONE) for claim in claims])


async def test_connections_terminated_under_load(running: Postgres) -> None:
    query = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = 'vtasks_asgi'"
    )
    work, rounds, killed = Work(), 0, 0
    async with opened() as store:
        tasks = [asyncio.create_task(work.produce(store)) for _ in range(3)]
        tasks.append(asyncio.create_task(work.consume(store)))
        while rounds < 30 or killed <= 30 or len(work.settled) <= 100:
            rounds += 1
            [(count,)] = await asyncio.to_thread(running.ask, query)
            killed += count
            await asyncio.sleep(0.1)
        work.stop = True
        await asyncio.gather(*tasks)
        await work.finish(store)
        await use_every_connection(store)


async def test_an_immediate_restart_under_load(running: Postgres) -> None:
    work = Work()
    async with opened() as store:
        tasks = [asyncio.create_task(work.produce(store)) for _ in range(3)]
        tasks.append(asyncio.create_task(work.consume(store)))
        for _ in range(2):
            await asyncio.sleep(1.0)
            before = len(work.settled)
            await asyncio.to_thread(running.immediate_restart)
            async with asyncio.timeout(30):
                while len(work.settled) <= before:  # noqa: ASYNC110 - other code has no event
                    await asyncio.sleep(0.01)
        work.stop = True
        await asyncio.gather(*tasks)
        await work.finish(store)
        await use_every_connection(store)


async def test_the_server_has_no_connection_left(running: Postgres) -> None:
    async with asyncio.timeout(60):
        others = []
        with pytest.raises(psycopg.OperationalError):
            while True:
                others.append(await psycopg.AsyncConnection.connect(running.url))
        try:
            text = await refused(PostgresStore(ALIAS).open)
            assert "too many clients" in text or "connection slots" in text
        finally:
            for each in others:
                await each.close()
    async with opened() as store:
        await use_every_connection(store)


async def test_a_server_that_is_frozen(running: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PATIENCE", 1.0)
    async with opened() as store:
        claim = await pushed_and_taken(store)
        running.freeze()
        try:
            for verb in (partial(push, store), partial(take, store), partial(settle, store, claim)):
                assert "did not answer" in await refused(verb)
        finally:
            running.thaw()
        async with asyncio.timeout(30):
            while True:
                with suppress(StoreUnavailable):
                    await use_those_that_work(store)
                    break


async def use_those_that_work(store: PostgresStore) -> None:
    [pushed] = await push(store, 1, "after")
    assert ids(await take(store, queue="after")) == [pushed]


async def test_a_locked_table_is_not_waited_for_for_ever(
    running: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "PATIENCE", 0.5)
    async with opened() as store:
        with psycopg.connect(running.url) as connection:
            connection.execute("LOCK TABLE vtasks_message")
            assert "did not answer" in await refused(partial(push, store))
            assert "did not answer" in await refused(partial(take, store))
        await use_every_connection(store)


_HICCUP = """
CREATE SEQUENCE IF NOT EXISTS hiccups;
ALTER SEQUENCE hiccups RESTART;
CREATE OR REPLACE FUNCTION hiccup() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('hiccups') <= {times} THEN
        RAISE EXCEPTION 'hiccup' USING ERRCODE = '{code}';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER hiccup AFTER INSERT OR UPDATE OR DELETE ON vtasks_message
    FOR EACH STATEMENT EXECUTE FUNCTION hiccup();
"""


@pytest.fixture
def hiccup(running: Postgres) -> Iterator[Callable[..., None]]:
    """``hiccup(code, times)``: the next writes of messages fail so often with that SQLSTATE."""

    def hiccup(code: str, times: int) -> None:
        query: Any = _HICCUP.format(times=times, code=code)
        with psycopg.connect(running.url) as connection:
            connection.execute("DROP TRIGGER IF EXISTS hiccup ON vtasks_message")
            connection.execute(query)

    yield hiccup
    running.ask("DROP TRIGGER IF EXISTS hiccup ON vtasks_message")


@pytest.mark.parametrize("code", ["40P01", "40001", "55P03"], ids=["deadlock", "serial", "lock"])
async def test_what_failed_by_chance_is_tried_again(
    running: Postgres, hiccup: Callable[..., None], code: str
) -> None:
    claims: list[Claim] = []

    def stored_here(count: int) -> None:
        store.push_sync([message() for _ in range(count)])
        connections[ALIAS].close()

    async def claim() -> None:
        claims.extend(await take(store))

    async with opened() as store:
        verbs: list[Callable[[], Awaitable[object]]] = [
            lambda: push(store),
            lambda: store.push([Message(new_id(), QUEUE, b"", unique="key")]),
            lambda: store.push_tick("nightly", 1.0, message()),
            lambda: asyncio.to_thread(stored_here, 2),
            claim,
            lambda: asyncio.to_thread(store.extend, claims, lease=LEASE),
            lambda: store.settle([Settlement(each, DONE) for each in claims]),
        ]
        for verb in verbs:
            hiccup(code, 3)
            await verb()
        assert len(claims) == 5
        assert (await stats(store)).ready == (await stats(store)).running == 0


async def test_and_not_without_end(running: Postgres, hiccup: Callable[..., None]) -> None:
    hiccup("40P01", 1000)
    async with opened() as store:
        assert "hiccup" in await refused(partial(push, store))


def test_in_the_callers_transaction_nothing_is_tried_again_and_it_stays_usable(
    running: Postgres, hiccup: Callable[..., None]
) -> None:
    hiccup("40P01", 1)
    store = PostgresStore(ALIAS)
    with transaction.atomic(using=ALIAS):
        with pytest.raises(StoreUnavailable, match="hiccup"):
            store.push_sync([message()])
        store.push_sync([message()])
    connections[ALIAS].close()
    assert running.ask("SELECT count(*) FROM vtasks_message") == [(1,)]


async def test_migrations_that_have_not_run(running: Postgres) -> None:
    running.ask("ALTER TABLE vtasks_message RENAME TO elsewhere")
    try:
        store = PostgresStore(ALIAS)
        assert await refused(store.open) == MIGRATE

        def enqueue() -> None:
            with transaction.atomic(using=ALIAS):
                with pytest.raises(StoreUnavailable, match="migrate"):
                    store.push_sync([message()])
                with connections[ALIAS].cursor() as cursor:
                    cursor.execute("SELECT 1")
            connections[ALIAS].close()

        await asyncio.to_thread(enqueue)
    finally:
        running.ask("ALTER TABLE elsewhere RENAME TO vtasks_message")


_CORRUPT = """
INSERT INTO vtasks_message (uid, queue, state, priority, created_at, run_at, attempt, crashes,
    lease_until, body)
VALUES
    ('a', 'default', 0, 32767, 'NaN', NULL, -5, -5, NULL, ''),
    ('b', 'default', 0, 100, 0, 'Infinity', 2147483000, 0, 'NaN', '\\x00'),
    ('c', 'default', 1, 0, 0, NULL, 0, 0, NULL, ''),
    ('d', 'default', 1, 0, 0, 'NaN', 0, 0, NULL, ''),
    ('e', 'default', 2, 0, 0, NULL, 0, 0, NULL, ''),
    ('f', 'default', 9, 0, 0, NULL, 0, 0, NULL, '')
"""


async def test_corrupt_rows_stand_in_nobodys_way(running: Postgres) -> None:
    running.ask(_CORRUPT)
    async with opened() as store:
        [pushed] = await push(store)
        [delayed] = await push(store, 1, run_at=await now(store) + 3600)
        claimed = await store.claim(QUEUE, 10, worker="w", lease=LEASE)
        assert ids(claimed.claims) == ["a", "b", pushed]
        assert claimed.next_due == pytest.approx(3600, abs=60)
        assert (await store.settle([Settlement(each, DONE) for each in claimed.claims])).lost == []
        assert await reclaim(store) == []
        assert set(await store.lookup([delayed, "c", "d", "e"])) == {delayed, "c", "d", "e"}


async def test_the_thread_that_renews_is_not_stuck_behind_another(
    running: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "PATIENCE", 0.2)
    async with opened() as store:
        claim = await pushed_and_taken(store)
        with psycopg.connect(running.url) as connection:
            connection.execute("LOCK TABLE vtasks_message")
            stuck = asyncio.create_task(
                asyncio.to_thread(partial(store.extend, [claim], lease=LEASE))
            )
            waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
            await asyncio.to_thread(wait_for, lambda: running.ask(waiting), "a wait for the lock")
            extend = partial(asyncio.to_thread, store.extend, [claim], lease=LEASE)
            assert "busy" in await refused(extend)
        assert await stuck == []
