"""How PostgreSQL carries claims out: through the indexes, at any size and with any statistics."""

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.database import added_database
from tests.services.postgres import Postgres
from tests.store.helpers import DONE, LEASE, QUEUE, ids, message, push, take
from vtasks_asgi.store.base import Settlement
from vtasks_asgi.store.database import pace
from vtasks_asgi.store.database.pace import Pace
from vtasks_asgi.store.database.postgres.claim import CLAIM, ONWARDS
from vtasks_asgi.store.database.postgres.plan import TUNE
from vtasks_asgi.store.database.postgres.store import PostgresStore

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300)]

ALIAS = "plans"
MANY = 1_000_000

_FILL = f"""
INSERT INTO vtasks_message (uid, queue, state, priority, created_at, attempt, crashes, body)
SELECT 'fill-' || n, '{QUEUE}', 0, %(priority)s, 0, 0, 0, 'body' FROM generate_series(1, {MANY}) n
"""

#: Of most messages another queue, and of the last ones this.
OTHERS = f"CASE WHEN n < 900000 THEN 'other' ELSE '{QUEUE}' END"


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> Iterator[str]:
    """A database of this file's, which Django knows by the alias."""
    entry = postgres.database | {"NAME": postgres.create(ALIAS)}
    with added_database(ALIAS, entry):
        yield postgres.url.rpartition("/")[0] + f"/{ALIAS}"


def explain(url: str, priority: str) -> Iterator[dict[str, Any]]:
    """Every node of the plan of a claim of 100 out of a million.

    The plan is as old as a queue that was empty, and so are the statistics.
    """
    values = f"('{QUEUE}', 100, 'token', 'worker', 30)"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE vtasks_message")
        connection.execute("ALTER TABLE vtasks_message SET (autovacuum_enabled = off)")
        connection.execute("ANALYZE vtasks_message")
        connection.execute(f"PREPARE claim (text, int2, text, text, float8) AS {CLAIM}")
        for _ in range(6):
            with connection.transaction():
                connection.execute(TUNE.text)
                connection.execute(f"EXECUTE claim {values}")
        connection.execute(_FILL % {"priority": priority})
        with connection.transaction():
            connection.execute(TUNE.text)
            query = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE claim {values}"
            [(found,)] = connection.execute(query).fetchall()
    yield from _nodes(found)


def _nodes(found: Any) -> Iterator[dict[str, Any]]:
    nodes = [found[0]["Plan"]]
    while nodes:
        node = nodes.pop()
        yield node
        nodes += node.get("Plans", [])


@pytest.mark.parametrize("priority", ["0", "n % 201 - 100"], ids=["one priority", "mixed"])
def test_a_claim_walks_the_index_among_a_million(url: str, priority: str) -> None:
    nodes = list(explain(url, priority))
    scans = [node for node in nodes if node.get("Relation Name") == "vtasks_message"]
    reads = [node for node in scans if "Scan" in node["Node Type"]]
    assert {node["Node Type"] for node in reads} <= {"Index Scan", "Index Only Scan", "Tid Scan"}
    assert "vtasks_message_ready" in {node.get("Index Name") for node in reads}
    assert max(node["Actual Rows"] for node in nodes) <= 100
    pages = nodes[0]["Shared Hit Blocks"] + nodes[0]["Shared Read Blocks"]
    assert pages < 10_000, "all of the table are 20,000"


@pytest.mark.parametrize("queue", [f"'{QUEUE}'", OTHERS], ids=["one queue", "two queues"])
@pytest.mark.parametrize("fresh", [True, False], ids=["old plan", "new plan"])
def test_a_claim_that_goes_on_walks_the_index_of_the_ready(
    url: str, queue: str, *, fresh: bool
) -> None:
    """Not the primary key, though that has the same order."""
    values = f"('{QUEUE}', 100, 'token', 'worker', 30, 0, 100)"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE vtasks_message RESTART IDENTITY")
        connection.execute("VACUUM ANALYZE vtasks_message")
        fill = _FILL.replace(f"'{QUEUE}'", queue) % {"priority": "0"}
        if not fresh:
            connection.execute(fill)
            connection.execute("VACUUM ANALYZE vtasks_message")
        types = "text, int2, text, text, float8, int8, int8"
        connection.execute(f"PREPARE claim ({types}) AS {ONWARDS}")
        with connection.transaction():
            connection.execute(TUNE.text)
            connection.execute(f"EXECUTE claim {values}")
            if fresh:
                connection.execute(fill)
            query = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE claim {values}"
            [(found,)] = connection.execute(query).fetchall()
    nodes = list(_nodes(found))
    assert "vtasks_message_pkey" not in {node.get("Index Name") for node in nodes}
    assert "Sort" not in {node["Node Type"] for node in nodes}
    assert nodes[0]["Shared Hit Blocks"] + nodes[0]["Shared Read Blocks"] < 10_000
    assert nodes[0]["Actual Rows"] == 100


async def test_p99_of_a_claim_with_100_000_dead_rows(url: str) -> None:
    """Prints it, for no test judges speed; see docs/databases.md."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE vtasks_message")
        connection.execute("ALTER TABLE vtasks_message SET (autovacuum_enabled = off)")
    store = PostgresStore(ALIAS)
    await store.open()
    for _ in range(110):
        await store.push([message() for _ in range(1000)])
    times: list[float] = []
    for _ in range(1100):
        begin = time.perf_counter()
        claimed = await store.claim(QUEUE, 100, worker="w", lease=LEASE)
        times.append(time.perf_counter() - begin)
        assert len(claimed.claims) == 100
        await store.settle([Settlement(claim, DONE) for claim in claimed.claims])
    await store.aclose()
    without, among = sorted(times[:100]), sorted(times[-100:])
    print(  # noqa: T201 - for who runs it with -s
        f"\nclaim of 100: p50 {without[50]:.4f} s, p99 {without[98]:.4f} s without dead rows;"
        f" p50 {among[50]:.4f} s, p99 {among[98]:.4f} s among 100,000"
    )


async def test_with_a_snapshot_held_open_looks_become_rare(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200,000 messages come and go, and every entry of theirs stays."""
    monkeypatch.setattr(pace, "SLOW", 0.01)
    begins: list[bool] = []
    begin = Pace.begin

    def spy(self: Pace) -> bool:
        time_to_look = begin(self)
        if self is store._paces[QUEUE].ready:
            begins.append(time_to_look)
        return time_to_look

    with psycopg.connect(url) as connection:
        connection.execute("TRUNCATE vtasks_message")
    store = PostgresStore(ALIAS)
    await store.open()
    with psycopg.connect(url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM vtasks_message")
        for _ in range(100):
            await store.push([message() for _ in range(2000)])
            while claims := await take(store, 2000):
                await store.settle([Settlement(claim, DONE) for claim in claims])
        monkeypatch.setattr(Pace, "begin", spy)
        for _ in range(50):
            [pushed] = await push(store)
            assert ids(await take(store)) == [pushed]
    await store.aclose()
    assert begins.count(False) > begins.count(True)
