"""How MySQL and MariaDB let lines take turns: they read what they take, and sort nothing."""

import asyncio
from math import inf

import pytest
from django.core.management import call_command
from django.db import connections

from tests.services.mariadb import MariaDB
from tests.store.helpers import QUEUE, ids, take
from tests.store.mariadb import ALIAS, opened, other_transaction
from tests.store.test_mysql import handler_reads, plans
from vtasks_asgi.core.message import Message, new_id

pytestmark = pytest.mark.usefixtures("mariadb_tables")

#: One line that floods beside small ones on either side, and some messages without one.
FLOOD = 50_000_500


def fill() -> None:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(
            "INSERT INTO vtasks_message"
            " (uid, queue, state, priority, created_at, attempt, crashes, body, line)"
            " SELECT CONCAT('m', seq), %s, IF(seq %% 1000 = 1, 0, 3), 5, 0, 0, 0, '',"
            " IF(seq %% 1000 = 1, NULL, IF(seq %% 1000 = 0, seq * 1000, %s))"
            " FROM seq_1_to_100000",
            [QUEUE, FLOOD],
        )
    connections[ALIAS].close()


async def test_turns_read_as_many_as_they_take(
    mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(fill)
    async with opened() as store:
        seen = plans(monkeypatch)
        for line in (None, 49_999_000, 50_000_000, FLOOD, 99_999_000):
            if line is not None:
                store._turns.had(QUEUE, 5, line)
            before = await handler_reads(store)
            claims = await take(store, 20)
            assert len(claims) == 20
            # To find it, to lock its row and to write it; and what else a claim looks for.
            assert await handler_reads(store) - before < 150
            assert (await handler_reads(store)) > before
    monkeypatch.undo()
    with other_transaction() as other:
        for query, values in [each for each in seen if "vtasks_message_turn" in each[0]][:60]:
            tables = other(f"EXPLAIN {query}", *values)
            assert not any("filesort" in (extra or "") for *_, extra in tables), query
            assert not any("temporary" in (extra or "") for *_, extra in tables), query


async def test_the_migration_orders_lines_within_a_priority(mariadb: MariaDB) -> None:
    await asyncio.to_thread(fill)
    query = "SELECT MIN(turn), MAX(turn) FROM vtasks_message WHERE state = 3"
    [(first, last)] = mariadb.ask(query)
    base = -5 * 2**45
    assert (float(first), float(last)) == (base + 1_000_000, base + 100_000_000)


def migrate(*to: str) -> None:
    call_command("migrate", "vtasks", *to, database=ALIAS, verbosity=0)
    connections[ALIAS].close()


@pytest.mark.timeout(180)
async def test_lines_come_to_tables_whose_limits_hold_messages_back(mariadb: MariaDB) -> None:
    """Both migrations have columns that are computed, and the second changes one of the first."""
    query = "SELECT uid, limit_state FROM vtasks_message ORDER BY uid"
    try:
        await asyncio.to_thread(migrate, "0007_limits")
        mariadb.ask(
            "INSERT INTO vtasks_message (uid, queue, state, priority, created_at, run_at, attempt,"
            " crashes, body, limit_key, limit_count) VALUES"
            " ('dated', %s, 1, 0, 0, 5, 0, 0, '', 'key', 1),"
            " ('held', %s, 1, 0, 0, 1e12, 0, 0, '', 'key', 1),"
            " ('ready', %s, 0, 0, 0, NULL, 0, 0, '', 'key', 1)",
            *[QUEUE] * 3,
        )
        assert mariadb.ask(query) == [("dated", 1), ("held", 3), ("ready", 0)]
    finally:
        await asyncio.to_thread(migrate)
    mariadb.ask("UPDATE vtasks_message SET state = 3, line = 7 WHERE uid = 'ready'")
    assert mariadb.ask(query) == [("dated", 1), ("held", 3), ("ready", 0)]
    async with opened() as store:
        claims = await take(store)
    assert ids(claims) == ["ready"], "its line has the first turn, and one may run"
    assert mariadb.ask(query) == [("dated", 3), ("held", 3), ("ready", 2)]


async def test_while_looks_are_slow_lines_are_not_forgotten() -> None:
    async with opened() as store:
        store._paces[QUEUE].ready._next = inf
        messages = [Message(new_id(), QUEUE, b"", line=line) for line in (7, None, 7, 3)]
        await store.push(messages)
        assert ids(await take(store, 3)) == [each.id for each in messages[:3]]
        assert ids(await take(store, 3)) == [messages[3].id]
