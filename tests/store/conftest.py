"""Every test that asks for ``engine`` or ``store`` runs once for each engine."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.database import empty_tables
from tests.missing import need
from tests.services import fixtures
from tests.store.engines import ENGINES, Engine
from vtasks_asgi.store.base import FullStore

# An engine on a service is marked as a test that asks for the service itself would be.
PARAMS = [
    pytest.param(name, marks=[pytest.mark.server] if kind.fixture in fixtures.NAMES else [])
    for name, kind in sorted(ENGINES.items())
]


@pytest.fixture(params=PARAMS)
def engine_kind(request: pytest.FixtureRequest) -> type[Engine]:
    """One kind of engine after the other, each one that can be had here."""
    kind = ENGINES[request.param]
    need(request.param, kind.missing())
    if kind.fixture:
        kind.service = request.getfixturevalue(kind.fixture)
    return kind


@pytest.fixture
def engine(engine_kind: type[Engine], runner: asyncio.Runner) -> Iterator[Engine]:
    """An engine with empty storage; closes every store the test has opened."""
    engine = engine_kind()
    engine.empty()
    yield engine
    runner.run(engine.aclose())


@pytest.fixture
def store(engine: Engine, runner: asyncio.Runner) -> FullStore:
    """A store of that engine, opened on the test's own loop."""
    return runner.run(engine.opened())


@pytest.fixture
def mariadb_tables(mariadb_database: str) -> None:
    """Empty tables on the session's MariaDB."""
    empty_tables(mariadb_database)
