"""Services that tests share: each is started when a test first asks for it, once a session.

Who kills, freezes or configures one starts a server of its own: ``with Valkey() as it``.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.database import added_database
from tests.missing import need
from tests.services.mariadb import MariaDB
from tests.services.postgres import PgBouncer, Postgres
from tests.services.sentinel import SentinelTrio
from tests.services.service import Startable
from tests.services.valkey import Valkey
from tests.services.valkey_cluster import ValkeyCluster
from tests.store import still

#: A test that uses one of these gets the marker ``server``.
NAMES = frozenset(
    "valkey valkey_cluster sentinel postgres mariadb postgres_database postgres_still"
    " pgbouncer_still mariadb_database".split()
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before any are deselected by their markers."""
    for item in items:
        if NAMES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("server")


def _running[S: Startable](kind: type[S], make: Callable[[], S]) -> Iterator[S]:
    need(kind.name, kind.missing())
    with make() as it:
        yield it.start()


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """One server; who uses it calls ``empty`` first."""
    yield from _running(Valkey, Valkey)


@pytest.fixture(scope="session")
def valkey_cluster() -> Iterator[ValkeyCluster]:
    """Three primaries; who moves a slot moves it back."""
    yield from _running(ValkeyCluster, ValkeyCluster)


@pytest.fixture(scope="session")
def sentinel() -> Iterator[SentinelTrio]:
    """A primary with two replicas, watched by three sentinels."""
    yield from _running(SentinelTrio, SentinelTrio)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server."""
    yield from _running(Postgres, Postgres)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """One server."""
    yield from _running(MariaDB, MariaDB)


@pytest.fixture(scope="session")
def postgres_database(postgres: Postgres) -> Iterator[str]:
    """Django's alias of a database on that server, with the package's tables."""
    with added_database("postgres", postgres.database) as alias:
        yield alias


@pytest.fixture(scope="session")
def mariadb_database(mariadb: MariaDB) -> Iterator[str]:
    """Django's alias of a database on that server, with the package's tables."""
    with added_database("mariadb", mariadb.database) as alias:
        yield alias


@pytest.fixture(scope="session")
def postgres_still(postgres: Postgres) -> Iterator[str]:
    """Django's alias of another database there, whose clock moves only when it is told to."""
    still.create(postgres)
    with added_database(still.ALIAS, still.entry(postgres)) as alias:
        yield alias


@pytest.fixture(scope="session")
def pgbouncer_still(postgres: Postgres, postgres_still: str) -> Iterator[str]:
    """Django's alias of the same database through PgBouncer."""
    need(PgBouncer.name, PgBouncer.missing())
    with PgBouncer(postgres).start() as pooler:
        with added_database(still.POOLED, still.entry(pooler)) as alias:
            yield alias
