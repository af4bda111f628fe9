"""Where a project of the fault tests keeps its queue, one class a store.

Each reads the queue past all of the package's own code. A test may kill, freeze or restart the
``service`` of its broker when that is its own.
"""

import functools
import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pytest

from tests.missing import need
from tests.services.mariadb import MariaDB
from tests.services.postgres import Postgres
from tests.services.service import Service
from tests.services.valkey import Valkey

READY, DELAYED, RUNNING = 0, 1, 2

#: Never shown: bytes of the user's.
_HIDDEN = ("body", "history", "value")


class Broker(ABC):
    """A queue's home, and what its processes have to be told about it."""

    name: ClassVar[str]

    @abstractmethod
    def environment(self) -> dict[str, object]:
        """For ``tests.project.settings``."""

    @abstractmethod
    def rows(self, table: str) -> list[dict[str, Any]]:
        """The ``message`` or the ``deadletter`` rows, in words that every store shares."""

    def migrates(self) -> bool:
        """Does it need the tables?"""
        return True

    def close(self) -> None:  # noqa: B027 - what owns no process has none to end
        """End what belongs to it alone."""


class Database(Broker):
    """A database behind any DB-API connection."""

    @property
    @abstractmethod
    def entry(self) -> dict[str, Any]:
        """An entry of Django's DATABASES."""

    @abstractmethod
    def connect(self) -> Any:
        """A connection of its own."""

    def environment(self) -> dict[str, object]:
        return {"PROJECT_DATABASES": json.dumps({"default": self.entry}, default=str)}

    def rows(self, table: str) -> list[dict[str, Any]]:
        with closing(self.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(f"SELECT * FROM vtasks_{table}")
            names = [column[0] for column in cursor.description]
            found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return [{k: v for k, v in row.items() if k not in _HIDDEN} for row in found]


class SQLiteFile(Database):
    """SQLite as the template has it, in a file of the project's folder unless told otherwise."""

    name = "sqlite"

    def __init__(self, file: Path) -> None:
        self.file = file

    @property
    def entry(self) -> dict[str, Any]:
        options = {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        }
        engine = "django.db.backends.sqlite3"
        return {"ENGINE": engine, "NAME": self.file, "OPTIONS": options, "CONN_MAX_AGE": 0}

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.file, timeout=20)


class PostgresServer(Database):
    """A server of the test's own: started here, ended by ``close``."""

    name = "postgres"

    def __init__(self) -> None:
        self.service = Postgres().start()

    @property
    def entry(self) -> dict[str, Any]:
        return self.service.database

    def connect(self) -> Any:
        import psycopg

        return psycopg.connect(self.service.url, connect_timeout=5)

    def close(self) -> None:
        self.service.close()


class MariaDBServer(Database):
    """A server of the test's own: started here, ended by ``close``."""

    name = "mariadb"

    def __init__(self) -> None:
        self.service = MariaDB().start()

    @property
    def entry(self) -> dict[str, Any]:
        return self.service.database

    def connect(self) -> Any:
        import MySQLdb

        entry = self.entry
        return MySQLdb.connect(
            host=entry["HOST"],
            port=entry["PORT"],
            user=entry["USER"],
            password=entry["PASSWORD"],
            database=entry["NAME"],
            connect_timeout=5,
        )

    def close(self) -> None:
        self.service.close()


class ValkeyServer(Broker):
    """A server of the test's own, with its append-only file. See ``docs/protocol.md``."""

    name = "valkey"

    def __init__(self, **options: Any) -> None:
        self.service = Valkey(**options).start()
        self.url = self.service.url

    def migrates(self) -> bool:
        return False

    def environment(self) -> dict[str, object]:
        return {"PROJECT_BROKER_URL": self.url}

    def rows(self, table: str) -> list[dict[str, Any]]:
        sets = {"ready": READY, "sched": DELAYED, "lease": RUNNING}
        if table == "deadletter":
            sets = {"dead": -1}
        with self.service.client(decode_responses=True) as client:
            places = [(queue, name) for queue in client.smembers("vt:queues") for name in sets]
            # In one transaction: what moves from one set to another meanwhile would be in none.
            with client.pipeline(transaction=True) as look:
                for queue, name in places:
                    look.zrange(f"vt:{{{quote(queue, safe='')}}}:{name}", 0, -1)
                found = look.execute()
        return [
            {"uid": id, "queue": queue, "state": sets[name]}
            for (queue, name), ids in zip(places, found, strict=True)
            for id in ids
        ]

    def close(self) -> None:
        self.service.close()


BROKERS: dict[str, tuple[type[Service] | None, Callable[[Path], Broker]]] = {
    "sqlite": (None, lambda folder: SQLiteFile(folder / "db.sqlite3")),
    "valkey": (Valkey, lambda folder: ValkeyServer()),
    "postgres": (Postgres, lambda folder: PostgresServer()),
    "mariadb": (MariaDB, lambda folder: MariaDBServer()),
}


@functools.cache
def _missing(kind: type[Service]) -> str | None:
    return kind.missing()


@pytest.fixture(params=sorted(BROKERS))
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """Every store in turn, each with a server of its own where it has one."""
    service, make = BROKERS[request.param]
    if service is not None:
        need(request.param, _missing(service))
    it = make(tmp_path)
    try:
        yield it
    finally:
        it.close()
