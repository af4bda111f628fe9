"""PostgreSQL: a place is a database of one server."""

import json
from collections.abc import Mapping
from itertools import count
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from benchmarks.engines.engine import Served, as_entry
from benchmarks.engines.pending import unfinished
from tests.services.postgres import Postgres as Server


class Postgres(Served[Server]):
    """Debian's defaults, durability included: each commit is on disk."""

    name = "postgres"
    kind = Server

    def __init__(self) -> None:
        super().__init__()
        self._serial = count(1)

    def make(self) -> Server:
        return Server(shared_buffers="128MB")

    @property
    def version(self) -> str:
        return str(self._ask("SHOW server_version"))

    def fresh(self) -> str:
        place = f"bench_{next(self._serial)}"
        self._ask(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(place)))
        return place

    def copy(self, place: str) -> str:
        copy = f"bench_{next(self._serial)}"
        names = (sql.Identifier(copy), sql.Identifier(place))
        self._ask(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
        # Every side begins with the same distance to the next checkpoint.
        self._ask("CHECKPOINT")
        return copy

    def discard(self, place: str) -> None:
        self._ask(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(place)))

    def settle(self, place: str) -> None:
        self._ask("VACUUM ANALYZE", place)

    def env(self, place: str) -> Mapping[str, str]:
        entry = as_entry(**self.server.database) | {"NAME": place}
        return {"BENCH_DATABASE": json.dumps(entry)}

    def pending(self, package: str, place: str) -> int:
        return int(self._ask(unfinished(package), place))

    def written(self) -> float:
        return float(self._ask("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"))

    def kept(self, place: str) -> float:
        tables = "SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables"
        return float(self._ask(tables, place))

    def dead(self, place: str) -> float:
        """Rows that are deleted or replaced and not cleaned up, as the server estimates."""
        counting = "SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables"
        return float(self._ask(counting, place))

    def connect(self, place: str) -> psycopg.Connection[Any]:
        """A connection to a place, each statement a transaction of its own."""
        url = self.server.url.rpartition("/")[0]
        return psycopg.connect(f"{url}/{place}", autocommit=True)

    def _ask(self, statement: LiteralString | sql.Composed, place: str = "postgres") -> Any:
        """The first value of the answer, if there is one."""
        with self.connect(place) as connection:
            cursor = connection.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
