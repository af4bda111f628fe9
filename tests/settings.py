"""Django settings of the tests: SQLite in a file, in a folder that child processes share.

The folder is taken from ``VTASKS_TEST_DIR``; the first process makes one and removes it at exit.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

if "VTASKS_TEST_DIR" not in os.environ:
    os.environ["VTASKS_TEST_DIR"] = tempfile.mkdtemp(prefix="vtasks-tests-")
    atexit.register(shutil.rmtree, os.environ["VTASKS_TEST_DIR"], ignore_errors=True)

TEST_DIR = Path(os.environ["VTASKS_TEST_DIR"])

SECRET_KEY = "only-for-tests"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "vtasks_asgi",
    "vtasks_asgi.db",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": TEST_DIR / "tests.sqlite3",
        "OPTIONS": {
            "init_command": "PRAGMA synchronous=NORMAL",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }
}
TASKS = {"default": {"BACKEND": "vtasks_asgi.backends.database.DatabaseTaskBackend"}}
