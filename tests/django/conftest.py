"""Every test of Django's side has the tables, empty, and may change settings."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from secrets import token_hex
from typing import Any

import pytest
from asgiref.sync import SyncToAsync
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connections
from django.test import SimpleTestCase, override_settings

from tests.database import default_database
from tests.django import sample
from tests.django.helpers import Ear
from tests.services.postgres import Postgres
from vtasks_asgi import asgi
from vtasks_asgi.runtime.events import hub

type Change = Callable[..., None]


#: Where the tests of a file run that says ``pytestmark = EACH_DATABASE``.
DATABASES = ["sqlite", pytest.param("postgres", marks=pytest.mark.server)]
EACH_DATABASE = pytest.mark.usefixtures("each_database")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "each_database" in metafunc.fixturenames:
        metafunc.parametrize("each_database", DATABASES, indirect=True)


@pytest.fixture
def each_database(request: pytest.FixtureRequest) -> Iterator[None]:
    """Django's default database is one after the other; in its own test classes the usual one."""
    which = getattr(request, "param", "sqlite")
    if which == "sqlite":
        yield
        return
    # Setting TASKS makes the backends anew, with stores for this database.
    with (
        default_database(request.getfixturevalue(f"{which}_site"), forget_default),
        override_settings(TASKS=settings.TASKS),
    ):
        yield


def forget_default() -> None:
    """Where connections to it are kept: here, and where coroutines send their queries."""

    def forget() -> None:
        connections.close_all()
        with suppress(AttributeError):  # there was none
            del connections[DEFAULT_DB_ALIAS]

    forget()
    SyncToAsync.single_thread_executor.submit(forget).result()


@pytest.fixture(scope="session")
def postgres_site(postgres: Postgres) -> dict[str, Any]:
    """An entry of DATABASES: one on that server, with all apps' tables."""
    entry = postgres.database | {"NAME": postgres.create(f"site_{token_hex(4)}")}
    with default_database(entry, forget_default):
        call_command("migrate", verbosity=0)
    return entry


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest, migrated: None) -> Iterator[None]:
    """Nothing is left by one test to the next; Django's own test classes see to it themselves."""
    if request.cls is not None and issubclass(request.cls, SimpleTestCase):
        yield
        return
    if "each_database" in request.fixturenames:
        request.getfixturevalue("each_database")
    request.getfixturevalue("tables")
    Group.objects.all().delete()
    sample.SEEN.clear()
    sample.MEETING = sample.Meeting()
    yield
    connections.close_all()
    # Where coroutines outside a runtime sent their queries.
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture
def change() -> Iterator[Change]:
    """``change(VTASKS_LEASE=5)`` until the end of the test."""
    with ExitStack() as stack:

        def change(**settings: Any) -> None:
            stack.enter_context(override_settings(**settings))

        yield change


@pytest.fixture
def site(change: Change) -> None:
    """The settings of a small site with a worker in it."""
    change(
        ROOT_URLCONF="tests.django.site",
        ALLOWED_HOSTS=["testserver"],
        VTASKS_EMBEDDED="on",
        VTASKS_DRAIN_TIMEOUT=5,
    )


@pytest.fixture
def ear() -> Iterator[Ear]:
    """Hears every runtime of this process."""
    ear = Ear()
    hub.add(ear)
    yield ear
    hub.remove(ear)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """With which options a runtime would have been made; none is."""
    made: list[object] = []
    monkeypatch.setattr(asgi, "assemble", lambda **options: made.append(options))
    return made
