"""MariaDB goes away, and comes back: clear errors meanwhile, nothing lost, nothing to restart."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
from django.core.checks import CheckMessage, Tags, run_checks
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from tests.database import added_database
from tests.missing import need
from tests.services.mariadb import MariaDB
from tests.store.helpers import LEASE, ids, message, push, settle, stats, take
from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.outcome import Done
from vtasks_asgi.store.base import Claim, FullStore, Settlement
from vtasks_asgi.store.database.mysql import store as mysql
from vtasks_asgi.store.database.mysql.store import MySQLStore
from vtasks_asgi.store.database.records import MIGRATE

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

ALIAS = "mortal"

#: A push whose answer was lost is made again, and finds the result of what has been done meanwhile.
KEPT = Done(b"h", b"v", ttl=600.0)
#: Seconds of a lease, longer than a round takes however busy the machine is.
AT_WORK = 6.0


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    """One server for this file; who has stopped it starts it again."""
    need(MariaDB.name, MariaDB.missing())
    with MariaDB() as it:
        yield it.start()


@pytest.fixture
def running(server: MariaDB) -> Iterator[MariaDB]:
    """It, with empty tables."""
    if not server.alive:
        server.start()
    with added_database(ALIAS, server.database):
        for table in ("message", "result", "deadletter", "uniquekey", "tick"):
            server.ask(f"TRUNCATE vtasks_{table}")
        yield server
        if not server.alive:
            server.start()


@asynccontextmanager
async def opened() -> AsyncIterator[MySQLStore]:
    store = MySQLStore(ALIAS)
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


async def kill_connections(server: MariaDB) -> None:
    """All that use the database, but for the one that does it."""
    query = (
        "SELECT ID FROM information_schema.PROCESSLIST"
        " WHERE DB = DATABASE() AND ID <> CONNECTION_ID()"
    )
    for (number,) in await asyncio.to_thread(server.ask, query):
        await asyncio.to_thread(server.ask, f"KILL {number}")


async def use_every_connection(store: MySQLStore) -> None:
    [pushed] = await push(store)
    [claim] = await take(store)
    assert claim.id == pushed
    assert await asyncio.to_thread(partial(store.extend, [claim], lease=LEASE)) == []
    assert pushed in await store.lookup([pushed])
    assert (await settle(store, claim)).lost == []


async def refused(verb: Callable[[], Awaitable[object]]) -> str:
    """The text of the StoreUnavailable that it raises, within the time a runtime waits."""
    with pytest.raises(StoreUnavailable) as raised:
        async with asyncio.timeout(30):
            await verb()
    return str(raised.value)


async def test_down_at_boot_and_open_once_it_is_there(running: MariaDB) -> None:
    await asyncio.to_thread(running.stop)
    store = MySQLStore(ALIAS)
    assert "connect" in (await refused(store.open)).lower()
    assert await refused(partial(push, store)) == "the store is not open"
    await asyncio.to_thread(running.start)
    await store.open()
    await use_every_connection(store)
    await store.aclose()


async def test_down_later_and_no_worker_has_to_be_restarted(running: MariaDB) -> None:
    async with opened() as store:
        [pushed] = await push(store)
        [claim] = await take(store)
        await asyncio.to_thread(running.kill)
        for verb in verbs(store):
            assert (await refused(verb)).startswith("MySQL: ")
        with pytest.raises(StoreUnavailable):
            await asyncio.to_thread(partial(store.extend, [claim], lease=LEASE))
        await store.wait(["default"], 0.2)  # a hint needs no server
        await asyncio.to_thread(running.start)
        assert claim.id == pushed
        assert (await settle(store, claim)).lost == []  # what was acknowledged has survived
        await use_every_connection(store)


def verbs(store: FullStore) -> list[Callable[[], Awaitable[object]]]:
    return [
        partial(push, store),
        partial(take, store),
        partial(store.stats, ["default"]),
        partial(store.ticks, ["nightly"]),
        partial(store.requeue, ["x"]),
    ]


async def test_killed_while_idle_nobody_notices(running: MariaDB) -> None:
    async with opened() as store:
        await use_every_connection(store)
        for _ in range(3):
            await kill_connections(running)
            await use_every_connection(store)


async def acknowledged[T](verb: Callable[[], Awaitable[T]]) -> T:
    """Its answer, however often it has to be asked."""
    while True:
        with suppress(StoreUnavailable):
            return await verb()


async def produce(store: MySQLStore, ended: asyncio.Event) -> set[str]:
    pushed: set[str] = set()
    while not ended.is_set():
        messages = [message() for _ in range(5)]
        await acknowledged(partial(store.push, messages))
        pushed.update(each.id for each in messages)
    return pushed


async def consume(store: MySQLStore, ended: asyncio.Event) -> list[str]:
    """Everything until nothing is left; claims whose answer was lost, when their lease is over."""
    done: list[str] = []
    while not ended.is_set() or (await acknowledged(partial(stats, store))).running:
        claim = partial(store.claim, "default", 20, worker="w", lease=AT_WORK)
        claims = (await acknowledged(claim)).claims
        reclaim = partial(store.reclaim, "default", 20, worker="w", lease=AT_WORK)
        claims += await acknowledged(reclaim)
        settlements = [Settlement(each, KEPT) for each in claims]
        await acknowledged(partial(store.settle, settlements))
        done += ids(claims)
    return done


async def test_killed_at_work_loses_and_doubles_nothing(running: MariaDB) -> None:
    """Pushes, claims and settlements go on while connections are killed again and again."""
    producing, consuming = asyncio.Event(), asyncio.Event()
    async with opened() as store:
        working = asyncio.gather(produce(store, producing), consume(store, consuming))
        for _ in range(20):
            await asyncio.sleep(0.1)
            await kill_connections(running)
        producing.set()
        await asyncio.sleep(1.0)
        consuming.set()
        pushed, done = await asyncio.wait_for(working, 60)
    assert sorted(done) == sorted(pushed)
    [(left,)] = await asyncio.to_thread(running.ask, "SELECT COUNT(*) FROM vtasks_message")
    assert left == 0


async def test_frozen_the_loop_goes_on_and_so_does_the_store_afterwards(running: MariaDB) -> None:
    options = connections[ALIAS].settings_dict["OPTIONS"]
    options["read_timeout"] = 2
    async with opened() as store:
        [claim] = await pushed_and_taken(store)
        running.freeze()
        try:
            assert "MySQL" in await refused(partial(settle, store, claim))
        finally:
            running.thaw()
        # Whether that was written is unknown; it was asked for once, and is done once.
        await settle(store, claim)
        assert (await stats(store)).running == 0
        await use_every_connection(store)


async def test_closing_does_not_wait_for_a_frozen_server(
    running: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql, "CLOSE_LIMIT", 1.0)
    connections[ALIAS].settings_dict["OPTIONS"]["read_timeout"] = 20
    store = MySQLStore(ALIAS)
    await store.open()
    await use_every_connection(store)
    running.freeze()
    try:
        pending = [asyncio.ensure_future(verb()) for verb in verbs(store)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(10):
            await store.aclose()
    finally:
        running.thaw()
    await asyncio.wait(pending, timeout=30)  # none is left without an answer
    assert all(each.done() for each in pending)


async def pushed_and_taken(store: MySQLStore) -> list[Claim]:
    await push(store)
    return await take(store)


async def test_migrations_that_have_not_run_are_named(running: MariaDB) -> None:
    await asyncio.to_thread(migrate, "zero")
    try:
        assert await refused(MySQLStore(ALIAS).open) == MIGRATE
        await asyncio.to_thread(migrate, "0002_unique_keys")
        assert await refused(MySQLStore(ALIAS).open) == MIGRATE
        await asyncio.to_thread(migrate)
        async with opened() as store:
            await asyncio.to_thread(migrate, "zero")
            assert await refused(partial(push, store)) == MIGRATE
    finally:
        await asyncio.to_thread(migrate)


def migrate(*to: str) -> None:
    call_command("migrate", "vtasks", *to, database=ALIAS, verbosity=0)
    connections[ALIAS].close()


@pytest.mark.parametrize(
    ("is_mariadb", "version"), [(True, (10, 5, 99)), (False, (8, 0, 16))], ids=["MariaDB", "MySQL"]
)
async def test_a_server_too_old_is_refused_and_found_by_the_check(
    running: MariaDB, monkeypatch: pytest.MonkeyPatch, is_mariadb: bool, version: tuple[int, ...]
) -> None:
    from django.db.backends.mysql.base import DatabaseWrapper  # needs the driver

    monkeypatch.setattr(DatabaseWrapper, "mysql_is_mariadb", is_mariadb)
    monkeypatch.setattr(DatabaseWrapper, "mysql_version", version)
    monkeypatch.setattr(DatabaseWrapper, "check_database_version_supported", lambda self: None)
    assert "is too old" in await refused(MySQLStore(ALIAS).open)
    [found] = await asyncio.to_thread(checked)
    assert found.id == "vtasks_asgi.E004"
    assert "is too old" in found.msg


async def test_a_server_of_this_year_passes_the_check(running: MariaDB) -> None:
    assert await asyncio.to_thread(checked) == []


def checked() -> list[CheckMessage]:
    """What ``check --database mortal`` says about our own affairs."""
    backend = "vtasks_asgi.backends.database.DatabaseTaskBackend"
    tasks = {"default": {"BACKEND": backend, "OPTIONS": {"DATABASE": ALIAS}}}
    with override_settings(TASKS=tasks):
        found = run_checks(tags=[Tags.database], databases=[ALIAS])
    connections[ALIAS].close()
    return [each for each in found if str(each.id).startswith(("vtasks", "models"))]
