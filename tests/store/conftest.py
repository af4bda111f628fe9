"""Every test that asks for ``engine`` or ``store`` runs once for each engine."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from tests.store.engines import ENGINES, Engine
from vtasks_asgi.store.base import FullStore


@pytest.fixture(params=sorted(ENGINES))
def engine_kind(request: pytest.FixtureRequest) -> type[Engine]:
    """One kind of engine after the other, each one that can be had here."""
    kind = ENGINES[request.param]
    if reason := kind.missing():
        if os.environ.get("CI"):
            pytest.fail(f"{request.param}: {reason}")
        pytest.skip(f"{request.param}: {reason}")
    if kind.fixture:
        request.getfixturevalue(kind.fixture)
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
