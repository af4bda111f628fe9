"""The database you already run as a task store."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.core import checks
from django.db import connections, router
from django.utils.connection import ConnectionDoesNotExist

from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.conf import options
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.joint import Joint
from vtasks_asgi.store.base import FullStore, Joining

#: Connections in the pool of a process, on PostgreSQL.
DEFAULT_POOL_SIZE = 4
#: Engines that have a store; Django counts MariaDB as "mysql".
VENDORS = ("sqlite", "postgresql", "mysql")


class DatabaseTaskBackend(VTasksBackend):
    """``OPTIONS["DATABASE"]`` names the alias; without it the database routers are asked.

    ``OPTIONS["POOL_SIZE"]`` is how many connections the pool of a process may open (PostgreSQL).
    """

    transacts = True
    option_names = VTasksBackend.option_names | {"DATABASE", "POOL_SIZE"}

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self.pool_size = int(self._number("POOL_SIZE", DEFAULT_POOL_SIZE, least=1))

    @property
    def database(self) -> str:
        """The alias of the database that holds the messages."""
        from vtasks_asgi.db.models import Message

        return str(self.options.get("DATABASE") or router.db_for_write(Message))

    def joint(self, store: object) -> Joint:
        return Joint(self.database, store if isinstance(store, Joining) else None)

    def joins(self, alias: str) -> bool:
        return alias == self.database

    def make_store(self) -> FullStore:
        """The store of that database's engine.

        Raises:
            ConfigurationError: wrong options, no such alias, or no store for its engine.
        """
        self.require_good_options()
        if problem := self._problem():
            raise ConfigurationError(f"{problem.msg} {problem.hint or ''}".strip())
        alias, cap = self.database, options().dlq_cap
        vendor = connections[alias].vendor
        if vendor == "postgresql":
            from vtasks_asgi.store.database.postgres.store import PostgresStore

            return PostgresStore(alias, dead_letter_cap=cap, pool_size=self.pool_size)
        if vendor == "mysql":
            from vtasks_asgi.store.database.mysql.store import MySQLStore

            return MySQLStore(alias, dead_letter_cap=cap)
        from vtasks_asgi.store.database.sqlite.store import SQLiteStore

        return SQLiteStore(alias, dead_letter_cap=cap)

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        """E003 tables, E004 database."""
        problem = self._problem()
        return [*super().check(**kwargs), *([problem] if problem else [])]

    def check_server(self, databases: Sequence[str]) -> list[checks.CheckMessage]:
        """E004 its version is too old. Connects to the database, if it is one of these."""
        if self._problem() or self.database not in databases:
            return []
        connection = connections[self.database]
        if connection.vendor != "mysql":
            return []
        from vtasks_asgi.store.database.mysql.link import too_old

        problem = too_old(connection)
        return [checks.Error(problem, id="vtasks_asgi.E004")] if problem else []

    def _problem(self) -> checks.Error | None:
        if not apps.is_installed("vtasks_asgi.db"):
            return checks.Error(
                f"TASKS[{self.alias!r}] needs the tables of 'vtasks_asgi.db'.",
                hint="Add 'vtasks_asgi.db' to INSTALLED_APPS and run 'manage.py migrate'.",
                id="vtasks_asgi.E003",
            )
        try:
            vendor = connections[self.database].vendor
        except ConnectionDoesNotExist:
            return checks.Error(
                f"TASKS[{self.alias!r}]['OPTIONS']['DATABASE'] is {self.database!r},"
                " which is not in DATABASES.",
                id="vtasks_asgi.E004",
            )
        if vendor == "postgresql" and not all(map(find_spec, ("psycopg", "psycopg_pool"))):
            return checks.Error(
                f"DATABASES[{self.database!r}] is postgresql, whose task store needs psycopg 3"
                " and its pool.",
                hint="Install 'vtasks-asgi[postgres]'.",
                id="vtasks_asgi.E004",
            )
        if vendor not in VENDORS:
            return checks.Error(
                f"DATABASES[{self.database!r}] is {vendor}, for which this version has no task"
                " store.",
                hint="Point OPTIONS['DATABASE'] at SQLite, PostgreSQL, MySQL or MariaDB.",
                id="vtasks_asgi.E004",
            )
        return None
