"""A PostgreSQL database whose clock stands still, so that waiting costs a test no time.

In its search path a function of ours comes before the server's ``clock_timestamp``. It tells what
the fake clocks of the other engines tell, and a store that asked another one would be noticed.
"""

from typing import Any

import psycopg
from django.db import connections

from tests.services.postgres import PgBouncer, Postgres

ALIAS, POOLED, DATABASE = "postgres_still", "pgbouncer_still", "still"

_SETUP = f"""
CREATE SCHEMA still;
CREATE TABLE still.clock (now timestamptz);
INSERT INTO still.clock VALUES (now());
CREATE FUNCTION still.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT now FROM still.clock';
ALTER DATABASE {DATABASE} SET search_path = public, still, pg_catalog;
"""


def create(server: Postgres) -> None:
    """Make the database, once."""
    with psycopg.connect(server.url, dbname=server.create(DATABASE)) as connection:
        connection.execute(_SETUP)


def entry(server: Postgres | PgBouncer) -> dict[str, Any]:
    """An entry of Django's DATABASES."""
    return server.database | {"NAME": DATABASE}


def set_to(epoch: float) -> None:
    """Tell it the time. Not from within a running event loop."""
    _update("UPDATE clock SET now = to_timestamp(%s)", epoch)


def advance(seconds: float) -> None:
    """Let time pass. Not from within a running event loop."""
    _update("UPDATE clock SET now = now + make_interval(secs => %s)", seconds)


def _update(query: str, value: float) -> None:
    connection = connections[ALIAS]
    try:
        with connection.cursor() as cursor:
            cursor.execute(query, [value])
    finally:
        connection.close()
