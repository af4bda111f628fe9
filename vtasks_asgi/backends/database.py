"""The database you already run as a task store."""

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
            ConfigurationError: no such alias, or no store for its engine.
        """
        if problem := self._problem():
            raise ConfigurationError(problem)
        from vtasks_asgi.store.database.sqlite import SQLiteStore

        return SQLiteStore(self.database, dead_letter_cap=options().dlq_cap)

    def _problem(self) -> str | None:
        try:
            vendor = connections[self.database].vendor
        except ConnectionDoesNotExist:
            return (
                f"TASKS[{self.alias!r}]['OPTIONS']['DATABASE'] is {self.database!r},"
                " which is not in DATABASES"
            )
        if vendor != "sqlite":
            return (
                f"DATABASES[{self.database!r}] is {vendor}, for which this version has no task"
                " store; point OPTIONS['DATABASE'] at a SQLite database"
            )
        return None

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        messages = super().check(**kwargs)
        if not apps.is_installed("vtasks_asgi.db"):
            messages.append(
                checks.Error(
                    f"TASKS[{self.alias!r}] needs the tables of 'vtasks_asgi.db'.",
                    hint="Add 'vtasks_asgi.db' to INSTALLED_APPS and run 'manage.py migrate'.",
                    id="vtasks_asgi.E003",
                )
            )
        elif problem := self._problem():
            messages.append(checks.Error(problem, id="vtasks_asgi.E004"))
        return messages
