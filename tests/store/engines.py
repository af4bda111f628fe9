"""The storage engines the contract suite runs over: how to make a store, and how time passes.

To add one: write its class here, list it in ``ENGINES``, and let ``missing`` say why its service
cannot be reached, if so. A missing service skips on a laptop and fails where ``CI`` is set.
"""

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db import connections

from tests.database import age_tables, empty_tables
from tests.fakes import FakeClock
from tests.services.sentinel import PRIMARY
from tests.store import server_time, still
from vtasks_asgi.store.base import FullStore
from vtasks_asgi.store.database.mysql.store import MySQLStore
from vtasks_asgi.store.database.postgres.store import PostgresStore
from vtasks_asgi.store.database.sqlite.store import SQLiteStore
from vtasks_asgi.store.memory import MemoryStore
from vtasks_asgi.store.valkey.store import ValkeyStore
from vtasks_asgi.store.valkey.url import parse


class Engine(ABC):
    """One engine's empty storage, for one test."""

    #: How far a time told by the store may be from the one expected, in seconds.
    tolerance = 0.001
    #: Whether leases that run out at the same moment are taken over in the order of pushing.
    orders_ties = True
    #: Whether it knows limits. Each engine has to; drop this when the last one does.
    limits = True
    #: Whether the place in the round of turns outlives the store.
    keeps_turns = False
    #: The pytest fixture that makes the storage exist, and what it gave.
    fixture: str | None = None
    service: Any = None
    #: Django's alias of the database that the storage is in, None when it is in none.
    alias: str | None = None

    def __init__(self) -> None:
        self._made: list[FullStore] = []

    @classmethod
    def missing(cls) -> str | None:
        """Why this engine cannot be tested here, None when it can."""
        return None

    def empty(self) -> None:  # noqa: B027 - what is new has nothing to empty
        """Delete everything stored; called before the first store is made."""

    @abstractmethod
    def make(self, *, dead_letter_cap: int = 1000) -> FullStore:
        """A store, not yet opened. Each one made stands for another process on the same data."""

    @abstractmethod
    async def advance(self, seconds: float) -> None:
        """Let time pass for every lease, due time and result.

        With an injected clock that is the clock; an engine which reads its server's clock moves
        the times it has stored into the past instead.
        """

    async def opened(self, *, dead_letter_cap: int = 1000) -> FullStore:
        """A store, opened; ``aclose`` will close it."""
        store = self.make(dead_letter_cap=dead_letter_cap)
        self._made.append(store)
        await store.open()
        return store

    async def aclose(self) -> None:
        for store in self._made:
            await store.aclose()

    async def in_thread[T](self, work: Callable[[], T]) -> T:
        """Call a blocking verb from another thread, as synchronous code does."""

        def call() -> T:
            try:
                return work()
            finally:
                connections.close_all()

        return await asyncio.to_thread(call)


class Memory(Engine):
    """The reference. All stores made are twins; the first one's cap is everybody's."""

    def __init__(self) -> None:
        super().__init__()
        self._clock = FakeClock()
        self._first: MemoryStore | None = None

    def make(self, *, dead_letter_cap: int = 1000) -> FullStore:
        if self._first is None:
            self._first = MemoryStore(clock=self._clock, dead_letter_cap=dead_letter_cap)
        return self._first.twin()

    async def advance(self, seconds: float) -> None:
        self._clock.advance(seconds)


class SQLite(Engine):
    """Django's default database, as ``tests.settings`` has it."""

    fixture = "migrated"
    alias = "default"

    def __init__(self) -> None:
        super().__init__()
        self._clock = FakeClock()

    def empty(self) -> None:
        empty_tables()

    def make(self, *, dead_letter_cap: int = 1000) -> FullStore:
        return SQLiteStore("default", dead_letter_cap=dead_letter_cap, clock=self._clock)

    async def advance(self, seconds: float) -> None:
        self._clock.advance(seconds)


class Postgres(Engine):
    """A database whose server's clock stands still; see ``tests.store.still``."""

    fixture = "postgres_still"
    alias = still.ALIAS

    def empty(self) -> None:
        empty_tables(still.ALIAS)
        still.set_to(FakeClock().now())

    def make(self, *, dead_letter_cap: int = 1000) -> FullStore:
        return PostgresStore(self.alias or "", dead_letter_cap=dead_letter_cap)

    async def advance(self, seconds: float) -> None:
        await asyncio.to_thread(still.advance, seconds)


class PgBouncer(Postgres):
    """The same database through a pool in transaction mode."""

    fixture = "pgbouncer_still"
    alias = still.POOLED


class Valkey(Engine):
    """A server of the session's. Its clock is the tests' own, see ``tests.store.server_time``."""

    fixture = "valkey"
    orders_ties = False
    keeps_turns = True

    def __init__(self) -> None:
        super().__init__()
        self._clock = FakeClock()
        server_time.tell(self._clock.now())

    def empty(self) -> None:
        self.service.empty()

    def url(self) -> str:
        return str(self.service.url)

    def make(self, *, dead_letter_cap: int = 1000) -> FullStore:
        return ValkeyStore(parse(self.url()), dead_letter_cap=dead_letter_cap)

    async def advance(self, seconds: float) -> None:
        self._clock.advance(seconds)
        server_time.tell(self._clock.now())

    async def aclose(self) -> None:
        await super().aclose()
        server_time.tell(None)


class ValkeyAcl(Valkey):
    """As a user who has the rights that docs/protocol.md lists, and no other."""

    def empty(self) -> None:
        super().empty()
        document = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")
        [rule] = re.findall(r"```acl\nuser (.+)\n```", document)
        self.service.ask("ACL", "SETUSER", *rule.split())

    def url(self) -> str:
        return f"valkey://vtasks:password@127.0.0.1:{self.service.port}/1"


class ValkeyCluster(Valkey):
    """Three nodes, among which the queues are spread."""

    fixture = "valkey_cluster"

    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.service.nodes)
        return f"valkey+cluster://{hosts}"


class ValkeySentinel(Valkey):
    """A primary that is asked for at its sentinels."""

    fixture = "sentinel"

    def empty(self) -> None:
        self.service.primary.empty()

    def url(self) -> str:
        hosts = ",".join(f"{host}:{port}" for host, port in self.service.addresses)
        return f"valkey+sentinel://{hosts}/{PRIMARY}"


class MariaDB(Engine):
    """A server of the session's, whose clock stands still for every connection."""

    fixture = "mariadb_database"
    alias = "mariadb"

    def empty(self) -> None:
        self._options["init_command"] = f"SET timestamp = {FakeClock().now()}"
        empty_tables("mariadb")

    @property
    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = connections["mariadb"].settings_dict["OPTIONS"]
        return options

    def make(self, *, dead_letter_cap: int = 1000) -> FullStore:
        return MySQLStore("mariadb", dead_letter_cap=dead_letter_cap)

    async def advance(self, seconds: float) -> None:
        await asyncio.to_thread(age_tables, "mariadb", seconds)

    async def aclose(self) -> None:
        await super().aclose()
        self._options.pop("init_command", None)


ENGINES: dict[str, type[Engine]] = {
    "memory": Memory,
    "sqlite": SQLite,
    "mariadb": MariaDB,
    "postgres": Postgres,
    "pgbouncer": PgBouncer,
    "valkey": Valkey,
    "valkey-acl": ValkeyAcl,
    "valkey-cluster": ValkeyCluster,
    "valkey-sentinel": ValkeySentinel,
}
