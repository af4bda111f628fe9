"""How PostgreSQL lets lines take turns: it hops from line to line, at any size and statistics."""

from collections.abc import Iterator
from math import inf
from typing import Any

import psycopg
import pytest

from tests.database import added_database
from tests.services.postgres import Postgres
from tests.store.helpers import QUEUE, ids, take
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.store.database.postgres.claim import CLAIM
from vtasks_asgi.store.database.postgres.lines import TAKE
from vtasks_asgi.store.database.postgres.plan import TUNE
from vtasks_asgi.store.database.postgres.store import PostgresStore

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300)]

ALIAS = "lines"

_FILL = f"""
INSERT INTO vtasks_message (uid, queue, state, priority, created_at, attempt, crashes, body, line)
SELECT 'fill-' || n, '{QUEUE}', %(state)s, 0, 0, 0, 0, 'body', %(line)s
FROM generate_series(1, 100000) n
"""

# One that floods beside some small ones, as many keys as messages, and all without a key.
FLOOD = {"state": "3", "line": "CASE WHEN n % 1000 = 0 THEN n ELSE 50500 END"}
MANY = {"state": "3", "line": "n % 50000 * 1000"}
MIXED = {
    "state": "CASE WHEN n % 100 = 0 THEN 3 ELSE 0 END",
    "line": "nullif((n % 100 = 0)::int, 0)",
}
NONE = {"state": "0", "line": "NULL"}


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> Iterator[str]:
    """A database of this file's, which Django knows by the alias."""
    entry = postgres.database | {"NAME": postgres.create(ALIAS)}
    with added_database(ALIAS, entry):
        yield postgres.url.rpartition("/")[0] + f"/{ALIAS}"


def explained(url: str, fill: dict[str, str], types: str, text: str, values: str) -> list[Any]:
    """Every node of the plan of a claim of 100 out of 100,000.

    The plan is as old as a queue that was empty, and so are the statistics.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE vtasks_message")
        connection.execute("ALTER TABLE vtasks_message SET (autovacuum_enabled = off)")
        connection.execute("ANALYZE vtasks_message")
        connection.execute(f"PREPARE claim ({types}) AS {text}")
        for _ in range(6):
            with connection.transaction():
                connection.execute(TUNE.text)
                connection.execute(f"EXECUTE claim ({values})")
        connection.execute(_FILL % fill)
        with connection.transaction():
            connection.execute(TUNE.text)
            query = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE claim ({values})"
            [(found,)] = connection.execute(query).fetchall()
    nodes = [found[0]["Plan"]]
    for node in nodes:
        nodes += node.get("Plans", [])
    return nodes


@pytest.mark.parametrize("last", ["'{}', '{}'", "'{0}', '{50600}'", "'{5, 0}', '{1, 50500}'"])
@pytest.mark.parametrize("fill", [FLOOD, MANY, MIXED], ids=["flood", "many", "mixed"])
def test_turns_read_what_they_take(url: str, fill: dict[str, str], last: str) -> None:
    types = "text, int8, text, text, float8, int8, int8[], int8[]"
    values = f"'{QUEUE}', 100, 'token', 'worker', 30, 32767, {last}"
    nodes = explained(url, fill, types, TAKE, values)
    reads = [
        node
        for node in nodes
        if node.get("Relation Name") == "vtasks_message" and "Scan" in node["Node Type"]
    ]
    assert {node["Node Type"] for node in reads} <= {"Index Scan", "Index Only Scan"}
    names = {node["Index Name"] for node in reads}
    assert names == {"vtasks_message_lined", "vtasks_message_ready", "vtasks_message_pkey"}
    assert max(node["Actual Rows"] for node in nodes) <= 101
    assert nodes[0]["Actual Rows"] == 100
    read = sum(node["Actual Rows"] * node["Actual Loops"] for node in reads)
    assert read <= 500, "each is found once for the turn and once to be taken, and once written"
    skipped = sum(node.get("Rows Removed by Filter", 0) for node in reads)
    assert skipped <= 100
    assert _pages(nodes) < 6000


def test_what_has_no_lines_pays_a_look(url: str) -> None:
    values = f"'{QUEUE}', 100, 'token', 'worker', 30"
    nodes = explained(url, NONE, "text, int2, text, text, float8", CLAIM, values)
    [look] = [node for node in nodes if node.get("Index Name") == "vtasks_message_lined"]
    assert (look["Actual Rows"], look["Actual Loops"]) == (0, 1)
    assert _pages([look]) <= 2


def _pages(nodes: list[Any]) -> int:
    pages: int = nodes[0]["Shared Hit Blocks"] + nodes[0]["Shared Read Blocks"]
    return pages


async def test_while_looks_are_slow_lines_are_not_forgotten(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE vtasks_message")
    store = PostgresStore(ALIAS)
    await store.open()
    store._paces[QUEUE].ready._next = inf
    messages = [Message(new_id(), QUEUE, b"", line=line) for line in (7, None, 7, 3)]
    await store.push(messages)
    assert ids(await take(store, 3)) == [each.id for each in messages[:3]]
    assert ids(await take(store, 3)) == [messages[3].id]
    await store.aclose()
