"""What only PostgreSQL has: a shared pool, notifications, waiting for others' transactions."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg
import pytest
from django.db import connections, transaction

from tests.database import empty_tables
from tests.processes import wait_for
from tests.services.postgres import Postgres
from tests.store.helpers import (
    DEAD,
    DONE,
    QUEUE,
    bury,
    ids,
    message,
    push,
    pushed_and_taken,
    record,
    settle,
    take,
    take_one,
)
from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.outcome import Dead
from vtasks_asgi.postgres import async_pool
from vtasks_asgi.store.base import Receipt, Settlement, State
from vtasks_asgi.store.database.postgres import bell
from vtasks_asgi.store.database.postgres.store import PostgresStore

ALIAS = "postgres"


@pytest.fixture(autouse=True)
def database(postgres_database: str) -> Iterator[None]:
    empty_tables(postgres_database)
    yield
    connections[postgres_database].close()


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(ALIAS, **options)
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


def unique(key: str = "key", id: str | None = None) -> Message:
    return Message(id or new_id(), QUEUE, b"body", unique=key)


async def ask(server: Postgres, query: Any) -> list[tuple[Any, ...]]:
    return await asyncio.to_thread(server.ask, query)


# -- connections


def ours(server: Postgres) -> set[int]:
    """The server's processes that serve us; those a pooler keeps for itself among them."""
    rows = server.ask(
        "SELECT pid FROM pg_stat_activity"
        " WHERE application_name = 'vtasks_asgi' AND datname = current_database()",
    )
    return {pid for (pid,) in rows}


async def test_a_process_opens_no_more_connections_than_it_says(
    postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    others = await asyncio.to_thread(ours, postgres)
    with caplog.at_level(logging.INFO, "vtasks_asgi"):
        async with opened(pool_size=3) as store, opened(pool_size=3) as other:
            await asyncio.gather(*(push(each) for each in (store, other) for _ in range(200)))
            claims = await take(store)
            await asyncio.gather(*(store.stats([QUEUE]) for _ in range(50)))
            await asyncio.to_thread(store.extend, claims, lease=9.0)
            # The pool is shared; the other two are one each a store.
            assert 3 <= len(await asyncio.to_thread(ours, postgres) - others) <= 3 + 1 + 1 + 1
    assert "at most 5 connections of this process (pool 3, leases 1" in caplog.text
    gone = partial(wait_for, lambda: ours(postgres) <= others, "the server's processes have ended")
    await asyncio.to_thread(gone)


async def test_the_pool_is_shared_with_code_of_the_same_loop() -> None:
    with pytest.raises(StoreUnavailable, match="no pool is open for DATABASES\\['postgres'\\]"):
        async_pool(ALIAS)
    async with opened() as store, opened():
        [pushed] = await push(store)
        async with async_pool(ALIAS).connection() as connection:
            cursor = await connection.execute(
                "SELECT uid FROM vtasks_message WHERE priority = %s", [0]
            )
            assert await cursor.fetchall() == [(pushed,)]
        assert async_pool(ALIAS).max_size == 4
    with pytest.raises(StoreUnavailable):
        async_pool(ALIAS)


async def test_who_borrows_a_connection_finds_the_servers_settings() -> None:
    async with opened(pool_size=1) as store:
        await push(store)
        await take(store)
        async with async_pool(ALIAS).connection() as connection:
            for name in ("enable_seqscan", "enable_sort", "jit"):
                cursor = await connection.execute(f"SHOW {name}")
                assert await cursor.fetchall() == [("on",)]


def test_the_callers_transaction_keeps_its_settings() -> None:
    with transaction.atomic(using=ALIAS), connections[ALIAS].cursor() as cursor:
        PostgresStore(ALIAS).push_sync([message(), unique()])
        cursor.execute("SHOW enable_seqscan")
        assert cursor.fetchone() == ("on",)


async def test_all_connections_lent_is_unavailable_soon_and_says_what_to_do() -> None:
    async with opened(pool_size=2) as store:
        pool = async_pool(ALIAS)
        async with pool.connection(), pool.connection():
            with pytest.raises(StoreUnavailable, match=r"all 2 .* busy .* OPTIONS\['POOL_SIZE'\]"):
                await push(store)
        await push(store)


# -- what the server's clock says


async def test_times_are_the_servers(postgres: Postgres) -> None:
    async with opened() as store:
        claim = await pushed_and_taken(store)
        [(now,)] = await ask(postgres, "SELECT extract(epoch FROM clock_timestamp())::float8")
        started_at = (await record(store, claim.id)).started_at
        assert started_at is not None
        assert 0 <= now - started_at < 60


# -- notifications


@asynccontextmanager
async def listening(server: Postgres) -> AsyncIterator[asyncio.Queue[str]]:
    """The queues that are rung for, as anybody hears who listens; "" is a test of a listener's."""
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def listen(connection: psycopg.AsyncConnection[Any]) -> None:
        async for each in connection.notifies():
            await heard.put(each.payload.partition(" ")[2])

    async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:
        await connection.execute("LISTEN vtasks")
        task = asyncio.create_task(listen(connection))
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.wait({task})


async def test_many_pushes_ring_few_times(postgres: Postgres) -> None:
    async with opened() as store, listening(postgres) as heard:
        begin = time.monotonic()
        for _ in range(100):
            await push(store)
        await push(store, 1, "last")
        took, words = time.monotonic() - begin, []
        while (word := await heard.get()) != "last":
            words.append(word)
    assert 1 <= words.count(QUEUE) <= took / bell.PAUSE + 1


async def test_a_push_too_soon_after_a_ring_is_found_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pause is long, for what is committed after its end is left to the look once a second."""
    monkeypatch.setattr(bell, "PAUSE", 1.0)
    async with opened() as store, opened() as other:
        for _ in range(3):
            assert await take(store) == []
            for _ in range(2):  # the second one rings for nobody
                await push(other)
            found = 0
            while found < 2:
                async with asyncio.timeout(10):
                    await store.wait([QUEUE], 60.0)
                found += len(await take(store))


async def test_a_commit_rings_and_a_rollback_does_not(postgres: Postgres) -> None:
    def enqueue(queue: str, fail: bool) -> None:
        try:
            with transaction.atomic(using=ALIAS):
                store.push_sync([message(queue)])
                if fail:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        finally:
            connections[ALIAS].close()

    store = PostgresStore(ALIAS)  # not open, as in a process without a worker
    async with listening(postgres) as heard:
        await asyncio.to_thread(enqueue, "taken back", True)
        await asyncio.to_thread(enqueue, "kept", False)
        assert await heard.get() == "kept"


async def test_the_listener_comes_back_after_its_connection_broke(postgres: Postgres) -> None:
    async with opened() as store, opened() as other:
        await ask(
            postgres,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'",
        )
        assert await take(store) == []
        await asyncio.sleep(0.1)
        async with asyncio.timeout(20):
            while store._listener is None or not store._listener.alive:
                await store.wait([QUEUE], 5.0)
        assert await take(store) == []
        await push(other)
        async with asyncio.timeout(10):
            await store.wait([QUEUE], 60.0)
        assert len(await take(store)) == 1


# -- unique keys and others' transactions


STALE_KEY = "INSERT INTO vtasks_uniquekey VALUES ('default', 'key', 'gone', 0)"


@pytest.mark.parametrize("used_before", [False, True])
async def test_a_key_pushed_elsewhere_is_waited_for_and_others_are_not(
    postgres: Postgres, used_before: bool
) -> None:
    if used_before:
        await ask(postgres, STALE_KEY)
    holder, second = unique(), unique()
    begun, end = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold() -> None:
        with transaction.atomic(using=ALIAS):
            PostgresStore(ALIAS).push_sync([holder])
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(end.wait(), loop).result(30)
        connections[ALIAS].close()

    async with opened() as store:
        holding = asyncio.create_task(asyncio.to_thread(hold))
        await begun.wait()
        waiting = asyncio.create_task(store.push([second]))
        for _ in range(5):
            assert (await store.push([message()]))[0].stored
        assert not waiting.done()
        end.set()
        await holding
        assert await waiting == [Receipt(second.id, False, holder.id)]


async def test_a_key_whose_row_nobody_holds_is_had_once(postgres: Postgres) -> None:
    async with opened() as store, opened() as other:
        for _ in range(20):
            await ask(postgres, STALE_KEY)
            answers = await asyncio.gather(store.push([unique()]), other.push([unique()]))
            assert sorted(receipt.stored for [receipt] in answers) == [False, True]
            await settle(store, await take_one(store), DONE)


async def test_many_keys_in_any_order_never_deadlock(postgres: Postgres) -> None:
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    before = await ask(postgres, query)
    async with opened() as store, opened() as other:
        for _ in range(10):
            some = [unique(str(n)) for n in range(40)]
            again = [unique(str(n)) for n in reversed(range(40))]
            one, two = await asyncio.gather(store.push(some), other.push(again))
            assert all(a.stored != b.stored for a, b in zip(one, reversed(two), strict=True))
            claims = await take(store)
            assert len(claims) == 40
            for claim in claims:
                await settle(store, claim, DONE)
    assert await ask(postgres, query) == before


async def test_the_sweep_leaves_a_key_alone_that_is_being_taken(postgres: Postgres) -> None:
    async with opened() as store:
        [letter] = [each for each in [unique()] if await store.push([each])]
        await settle(store, await take_one(store), DEAD)
        await ask(postgres, STALE_KEY)
        with psycopg.connect(postgres.url) as connection:
            connection.execute("SELECT * FROM vtasks_uniquekey FOR UPDATE")
            await store.prune(100)  # does not wait
            requeued = asyncio.create_task(store.requeue([letter.id]))
            await asyncio.sleep(0.1)
            await store.prune(100)
        assert await requeued == 1
        await store.prune(100)
        assert (await store.push([unique()]))[0].holder == letter.id


# -- small things


async def test_a_reason_too_long_is_cut_and_nothing_is_lost() -> None:
    async with opened() as store:
        claim = await pushed_and_taken(store)
        await settle(store, claim, Dead(b"h", "r" * 500))
        assert (await record(store, claim.id)).reason == "r" * 200


async def test_a_large_purge_goes_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtasks_asgi.store.database.postgres.inspect.PURGE_CHUNK", 10)
    async with opened() as store:
        await push(store, 35)
        assert await store.purge(QUEUE, State.READY) == 35


async def test_what_another_deletes_while_it_is_settled_is_lost(postgres: Postgres) -> None:
    async with opened() as store:
        await push(store, 2)
        first, second = await take(store)
        with psycopg.connect(postgres.url) as connection:
            connection.execute("DELETE FROM vtasks_message WHERE uid = %s", [first.id])
            settling = asyncio.create_task(settle(store, first, DONE))
            await asyncio.sleep(0.1)
        assert ids((await settling).lost) == [first.id]
        assert (await settle(store, second)).lost == []


async def test_a_push_in_a_loop_without_a_thread_is_stored() -> None:
    async with opened() as store:
        first = message()
        assert store.push_sync([first]) == [Receipt(first.id)]
        assert set(store.lookup_sync([first.id])) == {first.id}
        assert ids(await take(store)) == [first.id]
        assert await bury(store)


# -- the way there and back


async def test_more_than_the_sockets_take_at_once() -> None:
    async with opened() as store:
        bodies = [bytes([n]) * 2**20 for n in range(24)]
        await store.push([Message(new_id(), QUEUE, body) for body in bodies])
        assert [claim.body for claim in await take(store)] == bodies


async def test_who_borrows_a_connection_may_discard_what_was_prepared() -> None:
    async with opened(pool_size=1) as store:
        await push(store)
        await take(store)
        async with async_pool(ALIAS).connection() as connection:
            await connection.execute("DISCARD ALL")
        await push(store)
        assert len(await take(store)) == 1


async def test_whoever_gives_up_waiting_leaves_nothing_behind(postgres: Postgres) -> None:
    async with opened(pool_size=1) as store:
        with psycopg.connect(postgres.url) as connection:
            connection.execute("LOCK TABLE vtasks_message")
            pushing = asyncio.create_task(store._push_group([message()]))
            await asyncio.sleep(0.2)
            pushing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pushing
        assert await take(store) == []


async def test_an_error_of_one_statement_undoes_its_batch(postgres: Postgres) -> None:
    async with opened() as store:
        claim = await pushed_and_taken(store)
        await ask(postgres, "ALTER TABLE vtasks_deadletter RENAME TO elsewhere")
        try:
            done, dead = Settlement(claim, DONE), Settlement(replace(claim, token="x"), DEAD)
            with pytest.raises(StoreUnavailable):
                await store.settle([done, dead])
        finally:
            await ask(postgres, "ALTER TABLE elsewhere RENAME TO vtasks_deadletter")
        assert (await settle(store, claim)).lost == []
