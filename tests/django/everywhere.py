"""Tests that run once for each backend: a fixture, and what a new store has to add to it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.database import empty_tables
from tests.django.conftest import Change

BACKENDS = "vtasks_asgi.backends"


def _valkey(request: pytest.FixtureRequest) -> dict[str, Any]:
    server = request.getfixturevalue("valkey")
    server.empty()
    return {
        "BACKEND": f"{BACKENDS}.valkey.ValkeyTaskBackend",
        "OPTIONS": {"BROKER_URL": server.url},
    }


def _sqlite(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"BACKEND": f"{BACKENDS}.database.DatabaseTaskBackend"}


def _postgres(request: pytest.FixtureRequest) -> dict[str, Any]:
    return _database(request.getfixturevalue("postgres_database"))


def _mariadb(request: pytest.FixtureRequest) -> dict[str, Any]:
    return _database(request.getfixturevalue("mariadb_database"))


def _database(alias: str) -> dict[str, Any]:
    empty_tables(alias)
    return {"BACKEND": f"{BACKENDS}.database.DatabaseTaskBackend", "OPTIONS": {"DATABASE": alias}}


def _memory(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"BACKEND": f"{BACKENDS}.memory.MemoryTaskBackend"}


@pytest.fixture(
    params=[
        _memory,
        _sqlite,
        pytest.param(_postgres, marks=pytest.mark.server),
        pytest.param(_mariadb, marks=pytest.mark.server),
        pytest.param(_valkey, marks=pytest.mark.server),
    ],
    ids=lambda make: make.__name__.removeprefix("_"),
)
def each_backend(request: pytest.FixtureRequest, change: Change) -> Iterator[dict[str, Any]]:
    """``TASKS["default"]`` is each kind of backend in turn, its store empty."""
    entry = request.param(request)
    change(TASKS={"default": entry})
    yield entry
