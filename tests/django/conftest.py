"""Every test of Django's side has the tables, empty, and may change settings."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from asgiref.sync import SyncToAsync
from django.contrib.auth.models import Group
from django.db import connections
from django.test import SimpleTestCase, override_settings

from tests.django import sample
from tests.django.helpers import Ear
from vtasks_asgi import asgi
from vtasks_asgi.runtime.events import hub

type Change = Callable[..., None]


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest, migrated: None) -> Iterator[None]:
    """Nothing is left by one test to the next; Django's own test classes see to it themselves."""
    if request.cls is not None and issubclass(request.cls, SimpleTestCase):
        yield
        return
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
