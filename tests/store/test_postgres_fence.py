"""Claims are found by primary key however old the plan is, and however often one comes up."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.database import added_database
from tests.services.postgres import Postgres
from tests.store.helpers import LEASE, QUEUE, push, take
from vtasks_asgi.core.outcome import Dead, Done
from vtasks_asgi.store.base import Settlement, State
from vtasks_asgi.store.database.postgres import claim, control, fence, settle
from vtasks_asgi.store.database.postgres.plan import TUNE
from vtasks_asgi.store.database.postgres.store import PostgresStore

pytestmark = pytest.mark.server

ALIAS = "fences"
MANY = 5_000
#: The types of each statement's parameters after the first two, and values for three messages.
STATEMENTS = {
    "finish": (settle._FINISH, {}),
    "keep": (
        settle._KEEP,
        {"bytea[]": "{a,b,c}", "bytea[] ": "{a,b,c}", "float8[]": "{1,1,1}", "int8[]": "{2,1,0}"},
    ),
    "bury": (
        settle._BURY,
        {"bytea[]": "{a,b,c}", "text[]": "{a,b,c}", "bytea[] ": "{a,b,c}", "int8[]": "{2,1,0}"},
    ),
    "retry": (
        settle._RETRY,
        {"bytea[]": "{a,b,c}", "float8[]": "{1,1,1}", "bytea[] ": "{a,b,c}"},
    ),
    "release": (
        settle._RELEASE,
        {"bytea[]": "{a,b,c}", "float8[]": "{1,1,1}", "int8[]": "{1,1,1}"},
    ),
    "extend": (claim._EXTEND, {"float8": "5"}),
    "marked": (control._MARKED, {}),
}


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> Iterator[str]:
    """A database of this file's, which Django knows by the alias."""
    entry = postgres.database | {"NAME": postgres.create(ALIAS)}
    with added_database(ALIAS, entry):
        yield postgres.url.rpartition("/")[0] + f"/{ALIAS}"


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_plan_of_an_empty_queue_does_not_walk_a_long_one(url: str, name: str) -> None:
    """As of a worker that was started when a vacuum had found the table empty."""
    text, others = STATEMENTS[name]
    types = ", ".join(["int8[]", "text[]", *others])
    values = ", ".join(f"'{each}'" for each in ["{11,12,13}", "{t,t,t}", *others.values()])
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE vtasks_message, vtasks_result, vtasks_deadletter")
        connection.execute("ALTER TABLE vtasks_message SET (autovacuum_enabled = off)")
        connection.execute("VACUUM ANALYZE vtasks_message")
        connection.execute(f"PREPARE settle ({types}) AS {text}".encode())
        with connection.transaction():
            connection.execute(TUNE.text)
            connection.execute(f"EXECUTE settle ({values})".encode())
        connection.execute(
            "INSERT INTO vtasks_message (seq, uid, queue, state, priority, created_at, attempt,"
            " crashes, body, token, cancelled_at) SELECT n, 'm' || n, 'default', 2, 0, 0, 1, 0,"
            f" 'body', 't', 1 FROM generate_series(1, {MANY}) n"
        )
        with connection.transaction():
            connection.execute(TUNE.text)
            query = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE settle ({values})"
            [(found,)] = connection.execute(query.encode()).fetchall()
    read = [node for node in _nodes(found[0]["Plan"]) if node.get("Relation Name")]
    scans = [node for node in read if "Scan" in node["Node Type"]]
    assert scans
    for node in scans:
        seen = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        seen += node.get("Rows Removed by Join Filter", 0)
        assert (node["Index Name"], seen * node["Actual Loops"]) == ("vtasks_message_pkey", 3)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", []):
        yield from _nodes(each)


async def test_a_message_claimed_twice_is_settled_by_its_last_claim(url: str) -> None:
    """Both settlements in one call, in either order, among others whose handles do not ascend."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE vtasks_message, vtasks_result, vtasks_deadletter")
    store = PostgresStore(ALIAS)
    await store.open()
    try:
        for lost_first in (True, False):
            sent = await push(store, 3)
            lost = await take(store, 3)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("UPDATE vtasks_message SET lease_until = 0")
            ours = await store.reclaim(QUEUE, 3, worker="other", lease=LEASE)
            assert store.extend([*lost, *ours], lease=LEASE) == lost
            both = [*lost, *ours] if lost_first else [*reversed(ours), *lost]
            settled = await store.settle(
                [Settlement(each, Done(b"[]", None, 60.0)) for each in both]
            )
            assert sorted(each.token for each in settled.lost) == [each.token for each in lost]
            records = await store.lookup(sent)
            assert {record.state for record in records.values()} == {State.DONE}
    finally:
        await store.aclose()


async def test_dead_letters_lie_in_the_order_of_their_settlements(url: str) -> None:
    store = PostgresStore(ALIAS)
    await store.open()
    try:
        sent = await push(store, 4)
        claims = await take(store, 4)
        order = [claims[i] for i in (2, 0, 3, 1)]
        await store.settle([Settlement(each, Dead(b"[]", "why")) for each in order])
        page, _ = await store.browse(QUEUE, State.DEAD, limit=10)
        found = [record.id for record in page if record.id in sent]
        assert found in ([each.id for each in order], [each.id for each in reversed(order)])
    finally:
        await store.aclose()


def test_places_ascend_and_repeated_handles_come_apart() -> None:
    assert fence.rounds([]) == []
    assert fence.rounds([5, 3, 9]) == [[1, 0, 2]]
    assert fence.rounds([5, 3, 5, 5]) == [[1, 0], [2], [3]]
