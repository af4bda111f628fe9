"""The database you already run as a task store."""

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.core import checks
from django.db import connections, router
from django.utils.connection import ConnectionDoesNotExist

from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.conf import options
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.store.base import FullStore


class DatabaseTaskBackend(VTasksBackend):
    """``OPTIONS["DATABASE"]`` names the alias; without it the database routers are asked."""

    option_names = VTasksBackend.option_names | {"DATABASE"}

    @property
    def database(self) -> str:
        """The alias of the database that holds the messages."""
        from vtasks_asgi.db.models import Message

        return str(self.options.get("DATABASE") or router.db_for_write(Message))

    def make_store(self) -> FullStore:
        """The store of that database's engine.

        Raises:
            ConfigurationError: wrong options, no such alias, or no store for its engine.
        """
        self.require_good_options()
        if problem := self._problem():
            raise ConfigurationError(f"{problem.msg} {problem.hint or ''}".strip())
        if connections[self.database].vendor == "mysql":
            from vtasks_asgi.store.database.mysql.store import MySQLStore

            return MySQLStore(self.database, dead_letter_cap=options().dlq_cap)
        from vtasks_asgi.store.database.sqlite.store import SQLiteStore

        return SQLiteStore(self.database, dead_letter_cap=options().dlq_cap)

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
        if vendor not in ("sqlite", "mysql"):
            return checks.Error(
                f"DATABASES[{self.database!r}] is {vendor}, for which this version has no task"
                " store.",
                hint="Point OPTIONS['DATABASE'] at a SQLite, MySQL or MariaDB database.",
                id="vtasks_asgi.E004",
            )
        return None
