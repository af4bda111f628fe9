"""The helpers in projects of their own: a database in memory, and pytest without anything else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SETTINGS = """
SECRET_KEY = "only-for-tests"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "vtasks_asgi",
    "vtasks_asgi.db"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
TASKS = {"default": {"BACKEND": "vtasks_asgi.backends.database.DatabaseTaskBackend"}}
VTASKS_IMPORTS = ["jobs"]
"""

JOBS = """
from vtasks_asgi import Backoff, task


@task
def join(name):
    from django.contrib.auth.models import Group

    Group.objects.create(name=name)


@task(max_attempts=2, backoff=Backoff(base=600, jitter=0))
async def breaks():
    raise ValueError("broken")
"""

DJANGO_TESTS = """
from datetime import timedelta

from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.test import TestCase, TransactionTestCase

import jobs
from vtasks_asgi.exceptions import StoreError
from vtasks_asgi.testing import assert_enqueued, capture_tasks, drain, memory_tasks


class Tests:
    def setUp(self):
        self.enterContext(memory_tasks())

    def test_drain(self):
        jobs.join.enqueue("a")
        assert_enqueued(jobs.join, args=["a"], count=1)
        drain(raise_errors=True)
        self.assertEqual(Group.objects.get().name, "a")

    async def test_retry(self):
        result = await jobs.breaks.aenqueue()
        drain(advance=timedelta(minutes=10))
        await result.arefresh()
        self.assertEqual((result.status, result.attempts), ("FAILED", 2))


class InTestCase(Tests, TestCase):
    pass


class InTransactionTestCase(Tests, TransactionTestCase):
    pass


class Unchanged(TestCase):
    def test_capture(self):
        with capture_tasks():
            jobs.join.enqueue("a")
            assert_enqueued(jobs.join, count=1)

    def test_drain(self):
        with self.assertRaisesMessage(ImproperlyConfigured, "memory_tasks()"):
            drain()


class UnchangedTransactions(TransactionTestCase):
    def test_drain(self):
        with self.assertRaisesMessage(StoreError, "memory_tasks()"):
            drain()
"""

PYTEST_TESTS = """
from datetime import timedelta

import django
import pytest

django.setup()

import jobs
from vtasks_asgi.testing import assert_enqueued, drain, refute_enqueued


def test_memory(vtasks):
    jobs.breaks.enqueue()
    assert_enqueued(jobs.breaks)
    assert len(drain(advance=timedelta(minutes=10))) == 2
    assert vtasks.alias == "default"


def test_each_test_begins_with_nothing(vtasks, vtasks_captured):
    refute_enqueued()
    jobs.breaks.enqueue()
    assert len(vtasks_captured) == 1


def test_immediate(vtasks_immediate):
    assert jobs.breaks.enqueue().status == "FAILED"
    assert vtasks_immediate.pending_batches == {}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "settings.py").write_text(SETTINGS)
    (tmp_path / "jobs.py").write_text(JOBS)
    return tmp_path


def run(folder: Path, *arguments: str) -> str:
    """What Python with these arguments has told, once it ended well."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("VTASKS_")}
    paths = f"{folder}{os.pathsep}{ROOT}"
    env = kept | {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": paths}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_database_in_memory_will_do(project: Path) -> None:
    (project / "test_jobs.py").write_text(DJANGO_TESTS)
    assert "Ran 7 tests" in run(project, "-m", "django", "test")


@pytest.mark.slow
def test_pytest_finds_the_fixtures(project: Path) -> None:
    (project / "test_jobs.py").write_text(PYTEST_TESTS)
    assert "3 passed" in run(project, "-m", "pytest", "-q", "-W", "error", "--rootdir", ".")


@pytest.mark.slow
def test_the_plugin_leaves_projects_without_django_alone(project: Path) -> None:
    (project / "test_plain.py").write_text(
        "import sys\n\ndef test_it():\n    assert 'django' not in sys.modules\n"
    )
    assert "1 passed" in run(project, "-m", "pytest", "-q", "--rootdir", ".")
