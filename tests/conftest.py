"""What every test shares: Django set up once, coroutine tests, Hypothesis profiles, the tables."""

import asyncio
import inspect
import math
import os
from collections.abc import Iterator

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django
import pytest
from django.core.management import call_command
from django.db import connection
from hypothesis import HealthCheck, settings

from tests.database import empty_tables
from vtasks_asgi.store.database import pace

django.setup()

# Loaded after this file, so with Django set up.
pytest_plugins = ["tests.brokers", "tests.services.fixtures"]

# A change must not fail for what chance found elsewhere: the same examples every time in CI. Nor
# for a machine that is busy: how long examples take is no business of the tests'.
settings.register_profile(
    "fast",
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "nightly",
    max_examples=1000,
    stateful_step_count=100,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run ``async def`` tests, on the loop of the ``runner`` fixture when the test has one."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    test = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    runner = pyfuncitem.funcargs.get("runner")
    if isinstance(runner, asyncio.Runner):
        runner.run(test)
    else:
        asyncio.run(test)
    return True


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for a test and the fixtures that need to await something around it."""
    with asyncio.Runner() as it:
        yield it


@pytest.fixture(autouse=True)
def every_claim_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine: claims that do not look leave priorities and limits for later."""
    monkeypatch.setattr(pace, "SLOW", math.inf)


@pytest.fixture(scope="session")
def migrated() -> None:
    """The default database with its tables, made once a session."""
    call_command("migrate", verbosity=0)
    connection.close()


@pytest.fixture
def tables(migrated: None) -> None:
    """The default database with every table of the package empty."""
    empty_tables()
