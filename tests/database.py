"""The default database of ``tests.settings``, and those that tests add to it; between tests."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Case, F, FloatField, When

from vtasks_asgi.core.limits import HELD


def empty_tables(alias: str = DEFAULT_DB_ALIAS) -> None:
    """Delete every row of the package's tables. Not from inside a running event loop."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        for name in connection.introspection.table_names(cursor):
            if name.startswith("vtasks_"):
                cursor.execute(f"DELETE FROM {connection.ops.quote_name(name)}")
    connection.close()


def age_tables(alias: str, seconds: float) -> None:
    """Move every time stored into the past, ticks excepted: for a server whose clock we cannot set.

    Not from inside a running event loop.
    """
    for model in apps.get_app_config("vtasks").get_models():
        times = [field.name for field in model._meta.fields if isinstance(field, FloatField)]
        if model.__name__ != "Tick":
            model._default_manager.using(alias).update(
                **{name: _before(name, seconds) for name in times if name != "limit_interval"}
            )
    connections[alias].close()


def _before(name: str, seconds: float) -> Any:
    if name != "run_at":
        return F(name) - seconds
    return Case(When(run_at__lt=HELD, then=F(name) - seconds), default=F(name))


@contextmanager
def added_database(alias: str, entry: Mapping[str, Any]) -> Iterator[str]:
    """One more database for Django, with the package's tables; gone at the end.

    ``entry`` is one of DATABASES; what it leaves out gets Django's defaults.
    """
    filled = connections.configure_settings({DEFAULT_DB_ALIAS: {}, alias: dict(entry)})
    connections.databases[alias] = filled[alias]
    try:
        call_command("migrate", "vtasks", database=alias, verbosity=0)
        connections[alias].close()
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.databases[alias]


@contextmanager
def default_database(entry: Mapping[str, Any], forget: Callable[[], None]) -> Iterator[None]:
    """Another database in the place of Django's default one; gone at the end.

    ``forget`` drops the connections that threads keep: those are to the one before.
    """
    before = connections.databases[DEFAULT_DB_ALIAS]
    forget()
    connections.databases[DEFAULT_DB_ALIAS] = connections.configure_settings(
        {DEFAULT_DB_ALIAS: dict(entry)}
    )[DEFAULT_DB_ALIAS]
    try:
        yield
    finally:
        forget()
        connections.databases[DEFAULT_DB_ALIAS] = before
