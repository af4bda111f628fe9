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
