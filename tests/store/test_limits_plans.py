"""What limits read: through their index, and no more than the messages they touch."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection

from tests.database import added_database
from tests.services.postgres import Postgres
from tests.store import mariadb
from tests.store.helpers import LEASE, QUEUE, message, settle, take
from tests.store.mariadb import other_transaction
from tests.store.test_contract_limits import push_limited
from vtasks_asgi.core.limits import Limit
from vtasks_asgi.store.base import FullStore
from vtasks_asgi.store.database.mysql.step import Step
from vtasks_asgi.store.database.postgres import arrays, wire
from vtasks_asgi.store.database.postgres import limits as postgres_limits
from vtasks_asgi.store.database.postgres.plan import TUNE, Query
from vtasks_asgi.store.database.postgres.plan import Step as Queries
from vtasks_asgi.store.database.postgres.store import PostgresStore
from vtasks_asgi.store.database.sqlite import limits as sqlite_limits

ALIAS = "limits_plans"
BOTH = Limit("both", 3, 0.001)


async def work(store: FullStore) -> None:
    """Some of everything that limits ask: claims, denials, settlements and sweeps."""
    await store.push([message(priority=n % 7 - 3) for n in range(300)])
    await push_limited(store, Limit("other", 1), 300)
    await push_limited(store, BOTH, 300, priority=5)
    held = await take(store, 10)
    await take(store, 10)
    await settle(store, held[0])
    await store.cancel([claim.id for claim in await take(store, 1)])
    await store.reclaim(QUEUE, 5, worker="w", lease=LEASE)
    await store.prune(10)
    lined = [message(priority=9) for _ in range(100)]
    for number, each in enumerate(lined):
        each.line, each.limit = number % 5, Limit("lined", 2)
    await store.push(lined)
    held = await take(store, 10)
    await settle(store, held[0])


@pytest.mark.usefixtures("mariadb_tables")
async def test_mariadb_sorts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, tuple[Any, ...]] = {}
    rows = Step.rows

    def spy(self: Step, query: str, *values: Any) -> Any:
        if "vtasks_message_limit" in query:
            seen[query] = values
        return rows(self, query, *values)

    monkeypatch.setattr(Step, "rows", spy)
    async with mariadb.opened() as store:
        await work(store)
    monkeypatch.undo()
    assert len(seen) >= 5
    with other_transaction() as other:
        for query, values in seen.items():
            tables = other(f"EXPLAIN {query}", *values)
            keys = {key for *_, key, _length, _ref, _count, _extra in tables if key is not None}
            assert keys == {"vtasks_message_limit"}, query
            assert not any("filesort" in (extra or "") for *_, extra in tables), query


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    """A database of this file's, which Django knows by the alias."""
    entry = postgres.database | {"NAME": postgres.create(ALIAS)}
    with added_database(ALIAS, entry):
        yield postgres.url.rpartition("/")[0] + f"/{ALIAS}"


@pytest.mark.server
async def test_postgres_walks_the_index(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With statistics of an empty table, for the worst a planner may believe."""
    known = vars(postgres_limits).items()
    texts = {text for name, text in known if isinstance(text, str) and name.isupper()}
    seen: dict[str, Query] = {}
    exchange = wire.exchange

    async def spy(connection: Any, queries: Queries, *, prepare: bool) -> Any:
        seen.update({query.text: query for query in queries if query is not TUNE})
        return await exchange(connection, queries, prepare=prepare)

    monkeypatch.setattr(wire, "exchange", spy)
    store = PostgresStore(ALIAS)
    await store.open()
    try:
        await work(store)
    finally:
        await store.aclose()
    asked = [q for text, q in seen.items() if text in texts or "limit_key = w.key" in text]
    assert len(asked) >= 8
    await asyncio.to_thread(_explained, url, asked)


def _explained(url: str, asked: list[Query]) -> None:
    with psycopg.connect(url) as connection:
        cursor = psycopg.RawCursor(connection)
        arrays.register(cursor.adapters)
        cursor.execute(TUNE.text)
        for query in asked:
            cursor.execute(f"EXPLAIN {query.text}", query.values)
            told = "\n".join(line for (line,) in cursor.fetchall())
            assert "Seq Scan on vtasks_message" not in told, told


@pytest.mark.usefixtures("migrated")
def test_sqlite_searches_the_index() -> None:
    connection.ensure_connection()
    raw = connection.connection
    for name, text in vars(sqlite_limits).items():
        if not (name.isupper() and isinstance(text, str) and "vtasks_message" in text):
            continue
        if not text.lstrip().startswith(("SELECT", "UPDATE")):
            continue
        count = max(map(int, re.findall(r"\?(\d)", text)), default=1)
        steps = [row[-1] for row in raw.execute(f"EXPLAIN QUERY PLAN {text}", (1,) * count)]
        assert not any("SCAN vtasks_message" in step for step in steps), (name, steps)
        assert not any("TEMP B-TREE" in step for step in steps), (name, steps)
