"""Every test has the tables, empty, and may change settings; ``store`` is each kind in turn."""

import pytest

from tests.django.conftest import (
    Change,
    change,
    clean,
    each_database,
    postgres_site,
    pytest_generate_tests,
)
from tests.django.everywhere import each_backend
from tests.seeds import world

__all__ = [
    "change",
    "clean",
    "each_backend",
    "each_database",
    "postgres_site",
    "pytest_generate_tests",
]


@pytest.fixture
def store(each_backend: dict[str, object], change: Change) -> dict[str, object]:
    """``TASKS["default"]``: memory, SQLite, PostgreSQL, MariaDB and Valkey, one after the other."""
    change(VTASKS_QUEUES=["default", "emails", "high-priority", "high_priority", "low_priority"])
    return each_backend


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    world.SEEN.clear()
