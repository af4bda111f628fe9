"""Fixtures for pytest, loaded by the entry point ``vtasks_asgi``; ``vtasks_asgi.testing`` explains.

Nothing of Django is imported before a test asks for one of them.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from vtasks_asgi.backends.immediate import ImmediateBackend
    from vtasks_asgi.backends.memory import MemoryTaskBackend
    from vtasks_asgi.testing import Captured


@pytest.fixture
def vtasks() -> Iterator["MemoryTaskBackend"]:
    """Messages stay in memory until ``drain()``: ``vtasks_asgi.testing.memory_tasks()``."""
    from vtasks_asgi.testing import memory_tasks

    with memory_tasks() as backend:
        yield backend


@pytest.fixture
def vtasks_immediate() -> Iterator["ImmediateBackend"]:
    """Each task runs within its enqueue: ``vtasks_asgi.testing.immediate_tasks()``."""
    from vtasks_asgi.testing import immediate_tasks

    with immediate_tasks() as backend:
        yield backend


@pytest.fixture
def vtasks_captured() -> Iterator["Captured"]:
    """What is enqueued is recorded, and goes its way: ``vtasks_asgi.testing.capture_tasks()``."""
    from vtasks_asgi.testing import capture_tasks

    with capture_tasks() as captured:
        yield captured
