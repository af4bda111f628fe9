"""What only MySQL and MariaDB have: collations, plans, isolation, locks of others, connections."""

import asyncio
import time
from typing import Any

import pytest
from django.db import connections, transaction

from tests.processes import wait_for
from tests.services.mariadb import MariaDB
from tests.store.helpers import DONE, LEASE, QUEUE, ids, message, push, settle, stats, take
from tests.store.mariadb import ALIAS, opened, other_transaction
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.outcome import Done
from vtasks_asgi.store.base import Receipt, Settlement, State
from vtasks_asgi.store.database.mysql import link
from vtasks_asgi.store.database.mysql.step import Step
from vtasks_asgi.store.database.mysql.store import MySQLStore

pytestmark = pytest.mark.usefixtures("mariadb_tables")

#: Pairs that other collations take for the same.
ALIKE = [("a", "A"), ("e", "é"), ("a", "a "), ("ss", "ß"), ("k", "K"), ("é", "e\u0301")]


def keyed(key: str = "key", queue: str = QUEUE) -> Message:
    return Message(new_id(), queue, b"body", unique=key)


# -- names


@pytest.mark.parametrize(("one", "two"), ALIKE)
async def test_names_that_look_alike_are_different(one: str, two: str) -> None:
    async with opened() as store:
        await push(store, 1, one)
        await push(store, 2, two)
        assert (await stats(store, one)).ready == 1
        assert len(await take(store, queue=two)) == 2
        assert await store.push_tick(one, 5.0, None) == "skipped"
        assert (await store.ticks([one, two])).last == {one: 5.0}
        first, second = keyed(queue=one), keyed(queue=two)
        assert await store.push([first, second]) == [Receipt(first.id), Receipt(second.id)]


@pytest.mark.parametrize(("one", "two"), [pair for pair in ALIKE if "".join(pair).isascii()])
async def test_keys_and_ids_that_look_alike_are_different(one: str, two: str) -> None:
    async with opened() as store:
        first, second = keyed(one), keyed(two)
        assert await store.push([first, second]) == [Receipt(first.id), Receipt(second.id)]
        plain = [Message(id, QUEUE, b"") for id in (one, two)]
        assert [receipt.stored for receipt in await store.push(plain)] == [True, True]
        assert set(await store.lookup([one])) == {one}


# -- the clock


@pytest.mark.parametrize("zone", ["+05:00", "-11:00"])
async def test_the_clock_is_the_servers_in_any_time_zone(
    monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    options = connections[ALIAS].settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "init_command", f"SET time_zone = '{zone}'")
    async with opened() as store:
        before = time.time()
        assert before - 2 < (await store.ticks([])).now < time.time() + 2


# -- plans


def plans(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...]]]:
    """Grows with each locking or ordering statement that a step reads with, and its values."""
    seen: list[tuple[str, tuple[Any, ...]]] = []
    rows = Step.rows

    def spy(self: Step, query: str, *values: Any) -> Any:
        seen.append((query, values))
        return rows(self, query, *values)

    monkeypatch.setattr(Step, "rows", spy)
    return seen


async def test_no_claim_or_rescue_sorts_or_reads_more_than_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened() as store:
        await store.push([message(priority=n % 7 - 3) for n in range(1000)])
        await push(store, 200, run_at=time.time() + 3600)
        await take(store, 300)
        seen = plans(monkeypatch)
        await take(store, 5)
        await store.reclaim(QUEUE, 5, worker="w", lease=LEASE)
    monkeypatch.undo()
    assert len([query for query, _ in seen if "SKIP LOCKED" in query]) == 2
    with other_transaction() as other:
        for query, values in [each for each in seen if "vtasks_message_turn" in each[0]]:
            [(*_, key, _length, _ref, _count, extra)] = other(f"EXPLAIN {query}", *values)
            assert key == "vtasks_message_turn", query
            assert "filesort" not in extra, query
            assert "temporary" not in extra, query


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_claim_among_a_million_reads_as_many_as_it_takes(mariadb: MariaDB) -> None:
    def fill() -> None:
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(
                "INSERT INTO vtasks_message"
                " (uid, queue, state, priority, created_at, attempt, crashes, body)"
                " SELECT CONCAT('m', seq), %s, 0, CAST(seq AS SIGNED) %% 201 - 100, 0, 0, 0, ''"
                " FROM seq_1_to_1000000",
                [QUEUE],
            )
        connections[ALIAS].close()

    await asyncio.to_thread(fill)
    try:
        async with opened() as store:
            before = await handler_reads(store)
            [first, *_] = await take(store, 10)
            after = await handler_reads(store)
    finally:
        await asyncio.to_thread(mariadb.ask, "TRUNCATE vtasks_message")  # no purge behind it
    assert first.priority == 100
    assert after - before < 60  # 10 by the index, 10 to update them, and what looks for delayed


async def handler_reads(store: MySQLStore) -> int:
    """Rows and index entries that the claiming connection has read so far."""

    def read(step: Step) -> int:
        rows = step.rows("SHOW SESSION STATUS LIKE 'Handler_read%%'")
        return sum(int(value) for _, value in rows)

    assert store._crew
    return await store._crew.consumer.submit(read)


# -- isolation and connections


async def test_our_connections_read_what_is_committed_whatever_the_project_wants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = connections[ALIAS].settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "isolation_level", "repeatable read")
    async with opened() as store:
        assert store._crew
        level = "SHOW VARIABLES LIKE 't%%_isolation'"
        found = await store._crew.consumer.submit(lambda step: step.rows(level))
    assert {value for _, value in found} == {"READ-COMMITTED"}


async def test_a_process_has_no_more_than_four_connections(mariadb: MariaDB) -> None:
    def count() -> int:
        query = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE()"
        [(connected,)] = mariadb.ask(query)
        return int(connected) - 1

    await asyncio.to_thread(wait_for, lambda: count() == 0, "earlier connections are gone")
    async with opened() as store:
        await push(store)
        await settle(store, (await take(store))[0])
        await stats(store)
        await asyncio.to_thread(lambda: store.extend([], lease=LEASE))
        await store.wait([QUEUE], 0.1)
        assert await asyncio.to_thread(count) == 4


# -- what others have locked


async def test_a_callers_open_transaction_is_skipped_and_never_waited_for() -> None:
    async with opened() as store:
        with other_transaction() as other:
            hidden = message(priority=100)
            values = (hidden.id, hidden.queue, hidden.priority)
            other(
                "INSERT INTO vtasks_message"
                " (uid, queue, state, priority, created_at, attempt, crashes, body)"
                " VALUES (%s, %s, 0, %s, 0, 0, 0, '')",
                *values,
            )
            [pushed] = await push(store)
            assert ids(await take(store)) == [pushed]
            assert await store.purge(QUEUE, State.READY) == 0


async def test_a_key_that_a_request_has_locked_hinders_no_worker() -> None:
    """The request's transaction is open; the worker ends the message and claims others."""
    first = keyed()
    async with opened() as store:
        await store.push([first])
        [claim] = await take(store)
        with other_transaction() as other:
            other("SELECT * FROM vtasks_uniquekey WHERE queue = %s FOR UPDATE", QUEUE)
            await push(store)
            async with asyncio.timeout(link.LOCK_WAIT - 1):
                assert (await settle(store, claim)).lost == []
                assert len(await take(store)) == 1
                await store.prune(100)
        second = keyed()
        assert (await store.push([second]))[0].stored


async def test_pruning_forgets_what_a_worker_had_to_leave() -> None:
    first, held = keyed(), keyed("held")
    async with opened() as store:
        await store.push([first, held])
        claim = (await take(store, 1))[0]
        with other_transaction() as other:
            other("SELECT * FROM vtasks_uniquekey FOR UPDATE")
            await settle(store, claim)
        assert keys() == {"key", "held"}
        await store.prune(100)
        assert keys() == {"held"}


def keys() -> set[str]:
    with other_transaction() as other:
        return {key for (key,) in other("SELECT `key` FROM vtasks_uniquekey")}


async def test_a_lock_held_for_long_is_waited_for_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "_SESSION", "SET SESSION innodb_lock_wait_timeout = 1")
    async with opened() as store:
        await push(store)
        [claim] = await take(store)
        with other_transaction() as other:
            other("SELECT * FROM vtasks_message FOR UPDATE")
            settling = asyncio.create_task(settle(store, claim))
            await asyncio.sleep(1.3)  # the first try has ended with a timeout
            assert not settling.done()
        assert (await settling).lost == []


async def test_of_a_deadlock_nobody_hears(mariadb: MariaDB) -> None:
    """The lighter transaction is ended by the server, and that is ours."""
    count = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS"
    count += " WHERE VARIABLE_NAME = 'INNODB_DEADLOCKS'"
    async with opened() as store:
        first, second = await push(store, 2)
        claims = await take(store)
        [(before,)] = await asyncio.to_thread(mariadb.ask, count)
        with other_transaction() as other:
            heavy = "INSERT INTO vtasks_tick (schedule, at)"
            other(f"{heavy} SELECT CONCAT('heavy', seq), 0 FROM seq_1_to_1000")
            lock = "SELECT seq FROM vtasks_message WHERE uid = %s FOR UPDATE"
            other(lock, second)
            settling = asyncio.create_task(store.settle([Settlement(c, DONE) for c in claims]))
            await asyncio.sleep(0.3)  # it holds the first and waits for the second
            await asyncio.to_thread(other, lock, first)
        assert (await settling).lost == []
        [(after,)] = await asyncio.to_thread(mariadb.ask, count)
    assert int(after) == int(before) + 1


# -- ids that come to an end


async def test_an_id_that_ends_between_two_looks_is_not_stored_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened() as store:
        await push(store)
        [claim] = await take(store)
        await settle(store, claim, Done(b"", b"1", ttl=60.0))
        receipts = await store.push([Message(claim.id, QUEUE, b"again"), fresh := message()])
        assert [receipt.stored for receipt in receipts] == [False, True]
        assert ids(await take(store)) == [fresh.id]


async def test_a_stale_snapshot_hides_no_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request in REPEATABLE READ, begun before the key was taken."""
    options = connections[ALIAS].settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "isolation_level", "repeatable read")
    first, second = keyed(), keyed()
    async with opened() as store:
        looked, taken = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def request() -> Receipt:
            with transaction.atomic(using=ALIAS):
                with connections[ALIAS].cursor() as cursor:
                    cursor.execute("SELECT COUNT(*) FROM vtasks_message")
                loop.call_soon_threadsafe(looked.set)
                asyncio.run_coroutine_threadsafe(taken.wait(), loop).result(20)
                [receipt] = store.push_sync([second])
            connections[ALIAS].close()
            return receipt

        asking = asyncio.create_task(asyncio.to_thread(request))
        await looked.wait()
        await store.push([first])
        taken.set()
        assert await asking == Receipt(second.id, False, first.id)
