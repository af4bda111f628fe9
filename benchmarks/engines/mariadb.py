"""MariaDB: a place is a database of one server."""

import json
from collections.abc import Mapping
from contextlib import closing
from itertools import count
from typing import Any

from benchmarks.engines.engine import Served, as_entry
from benchmarks.engines.pending import unfinished
from tests.services.mariadb import MariaDB as Server


class MariaDB(Served[Server]):
    """The defaults, durability included: each commit is on disk."""

    name = "mariadb"
    kind = Server

    def __init__(self) -> None:
        super().__init__()
        self._serial = count(1)

    def make(self) -> Server:
        return Server("--innodb-buffer-pool-size=128M")

    @property
    def version(self) -> str:
        return str(self._ask("SELECT version()")[0][0])

    def fresh(self) -> str:
        place = f"bench_{next(self._serial)}"
        self._ask(f"CREATE DATABASE {place} CHARACTER SET utf8mb4")
        return place

    def copy(self, place: str) -> str:
        copy = self.fresh()
        statements = ["SET foreign_key_checks = 0"]  # a table may point to one that comes later
        for (table,) in self._ask("SHOW TABLES", place=place):
            ((_, create),) = self._ask(f"SHOW CREATE TABLE {table}", place=place)
            columns = self._columns(table, place)
            filling = f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {place}.{table}"
            statements += [create, filling]
        self._ask(*statements, place=copy)
        return copy

    def _columns(self, table: str, place: str) -> str:
        """Those that are not computed from others."""
        rows = self._ask(
            "SELECT group_concat(concat('`', column_name, '`')) FROM information_schema.columns"
            f" WHERE table_schema = '{place}' AND table_name = '{table}'"
            " AND generation_expression IS NULL"
        )
        return str(rows[0][0])

    def discard(self, place: str) -> None:
        self._ask(f"DROP DATABASE {place}")

    def settle(self, place: str) -> None:
        for (table,) in self._ask("SHOW TABLES", place=place):
            self._ask(f"ANALYZE TABLE {table}", place=place)

    def env(self, place: str) -> Mapping[str, str]:
        entry = as_entry(**self.server.database) | {"NAME": place}
        return {"BENCH_DATABASE": json.dumps(entry)}

    def pending(self, package: str, place: str) -> int:
        return int(self._ask(unfinished(package), place=place)[0][0])

    def _ask(self, *statements: str, place: str = "") -> list[tuple[Any, ...]]:
        """The rows of the last of these statements, all in one session."""
        import MySQLdb  # noqa: PLC0415 - built from source, so only where it is used

        entry = self.server.database
        login = {"host": entry["HOST"], "user": entry["USER"], "password": entry["PASSWORD"]}
        connection = MySQLdb.connect(**login, port=entry["PORT"], database=place, autocommit=True)
        with closing(connection):
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())
