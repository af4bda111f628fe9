"""What only MySQL and MariaDB have: collations, plans, isolation, connections."""

import asyncio
import time
from typing import Any

import pytest
from django.db import connections

from tests.processes import wait_for
from tests.services.mariadb import MariaDB
from tests.store.helpers import LEASE, QUEUE, ids, message, push, settle, stats, take
from tests.store.mariadb import ALIAS, keyed, opened, other_transaction
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.outcome import Done, Retry
from vtasks_asgi.store.base import Receipt
from vtasks_asgi.store.database.mysql.step import Step
from vtasks_asgi.store.database.mysql.store import MySQLStore

pytestmark = pytest.mark.usefixtures("mariadb_tables")

#: Pairs that other collations take for the same.
ALIKE = [("a", "A"), ("e", "é"), ("a", "a "), ("ss", "ß"), ("k", "K"), ("é", "e\u0301")]


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
            tables = other(f"EXPLAIN {query}", *values)
            keys = {key for *_, key, _length, _ref, _count, _extra in tables if key is not None}
            # Whether the queue is paused is looked up beside it, by primary key.
            assert "vtasks_message_turn" in keys <= {"vtasks_message_turn", "PRIMARY"}, query
            assert not any("filesort" in (extra or "") for *_, extra in tables), query
            assert not any("temporary" in (extra or "") for *_, extra in tables), query


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
        await store.wait([QUEUE], 0.1)  # the watcher's thread opens its own in its own time
        await asyncio.to_thread(wait_for, lambda: count() >= 4, "all are open")
        assert await asyncio.to_thread(count) == 4


# -- what comes to an end or back


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


async def test_a_retry_that_waits_wakes_those_who_should_know_when_it_is_due() -> None:
    async with opened() as store:
        await push(store)
        [claim] = await take(store)
        await store.wait([QUEUE], 0.2)  # the watcher has looked
        await take(store)
        waiting = asyncio.create_task(store.wait([QUEUE], 300))
        await asyncio.sleep(0)
        await settle(store, claim, Retry(b"h", 60.0))
        await asyncio.wait_for(waiting, 15)
