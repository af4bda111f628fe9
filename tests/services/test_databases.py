"""Databases that are added while the tests run: migrated, emptied, and gone afterwards."""

import pytest
from django.db import connections

from tests.database import added_database, empty_tables
from tests.services.postgres import Postgres
from vtasks_asgi.db.models import Result

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(params=["postgres", "mariadb"])
def alias(request: pytest.FixtureRequest) -> str:
    """One added database after the other."""
    found: str = request.getfixturevalue(f"{request.param}_database")
    return found


def result(uid: str) -> Result:
    return Result(uid=uid, queue="q", priority=0, body=b"\0\xff", finished_at=1.5, expires_at=2.5)


def test_an_added_database_has_the_tables_and_can_be_emptied(alias: str) -> None:
    empty_tables(alias)
    try:
        result("one").save(using=alias)
        (row,) = Result.objects.using(alias).all()
        assert (row.uid, bytes(row.body), row.finished_at) == ("one", b"\0\xff", 1.5)
        empty_tables(alias)
        assert not Result.objects.using(alias).exists()
    finally:
        connections[alias].close()


def test_what_its_entry_leaves_out_is_as_django_has_it(alias: str, migrated: None) -> None:
    added, default = connections.databases[alias], connections.databases["default"]
    assert set(default) <= set(added)
    assert set(default["TEST"]) <= set(added["TEST"])
    names = ("ATOMIC_REQUESTS", "AUTOCOMMIT", "CONN_MAX_AGE", "CONN_HEALTH_CHECKS", "TIME_ZONE")
    assert [added[name] for name in names] == [default[name] for name in names]


def test_afterwards_it_is_gone(postgres: Postgres) -> None:
    with added_database("passing", postgres.database) as alias:
        assert alias in set(connections)
    assert "passing" not in set(connections)
