"""What is said when a store is opened: how many connections, and what could cost messages."""

import logging
from collections.abc import Iterator

import pytest

from tests.missing import need
from tests.services.valkey import Valkey
from tests.store.valkey.opening import opened
from vtasks_asgi.store.valkey import selfcheck

pytestmark = pytest.mark.server

RIGHTS = "~* &* +@all"


@pytest.fixture(scope="module")
def own() -> Iterator[Valkey]:
    need(Valkey.name, Valkey.missing())
    users = {
        "blind": f"on >hunter2 {RIGHTS} -config -info",
        "halfblind": f"on >hunter2 {RIGHTS} -config",
        "poor": f"on >hunter2 {RIGHTS} -zpopmin -hset -subscribe",
    }
    with Valkey(users=users) as server:
        yield server.start()


async def said(
    server: Valkey, caplog: pytest.LogCaptureFixture, user: str | None = None
) -> list[str]:
    """The warnings of opening a store as this user."""
    caplog.clear()
    login = f"{user}:hunter2@" if user else ""
    with caplog.at_level(logging.INFO, "vtasks_asgi"):
        async with opened(f"valkey://{login}127.0.0.1:{server.port}"):
            pass
    assert "hunter2" not in caplog.text
    [told] = [it for it in caplog.records if it.levelno == logging.INFO]
    assert told.getMessage() == (
        f"At most 3 connections of this process to 127.0.0.1:{server.port}/0"
    )
    return [it.getMessage() for it in caplog.records if it.levelno == logging.WARNING]


async def test_a_good_server_is_no_news(own: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    assert await said(own, caplog) == []


async def test_what_evicts_is_named(own: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    own.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        for user in (None, "halfblind"):
            [warning] = await said(own, caplog, user)
            assert "maxmemory-policy is allkeys-lru" in warning
            assert "set noeviction" in warning
    finally:
        own.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")


async def test_what_forgets_is_named(own: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    own.ask("CONFIG", "SET", "appendonly", "no")
    try:
        [warning] = await said(own, caplog)
        assert "keeps nothing over a restart; set appendonly yes" in warning
        [warning] = await said(own, caplog, "halfblind")
        assert "could not be looked at; set appendonly yes" in warning
        own.ask("CONFIG", "SET", "save", "3600 1")
        assert await said(own, caplog) == []
    finally:
        own.ask("CONFIG", "SET", "save", "")
        own.ask("CONFIG", "SET", "appendonly", "yes")


async def test_what_could_not_be_looked_at_is_said(
    own: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    warnings = await said(own, caplog, "blind")
    assert len(warnings) == 2
    assert "maxmemory-policy could not be looked at" in warnings[0]
    assert "whether the server keeps its data" in warnings[1]


async def test_missing_rights_are_named(own: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    [warning] = await said(own, caplog, "poor")
    assert "the user may not use HSET, SUBSCRIBE, ZPOPMIN; docs/protocol.md" in warning


@pytest.mark.parametrize(
    ("told", "count"),
    [
        ({"redis_version": "6.2.14"}, 1),
        ({"redis_version": "7.0.15"}, 0),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, 0),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.0"}, 0),
        ({"redis_version": "10.0.0"}, 0),
        ({"redis_version": "of ours"}, 0),
        ({}, 0),
    ],
)
def test_old_servers(told: dict[str, str], count: int) -> None:
    assert len(list(selfcheck._version(told))) == count
