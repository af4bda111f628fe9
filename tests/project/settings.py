"""The project that fault and server tests start as processes of their own.

It lives in the folder ``PROJECT_FOLDER``; what a test wants different it says with ``VTASKS_*``
environment variables, which this file leaves alone. Where the queue lives ``tests.brokers`` says:
``PROJECT_DATABASES`` is DATABASES as JSON, ``PROJECT_BROKER_URL`` a Valkey server.
"""

import json
import os
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["PROJECT_FOLDER"])

SECRET_KEY = "only-for-tests"
DEBUG = False
USE_TZ = True
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["django.contrib.sessions", "vtasks_asgi", "vtasks_asgi.db", "tests.project"]
ROOT_URLCONF = "tests.project.urls"
DATABASES = json.loads(os.environ.get("PROJECT_DATABASES", "{}"))
if BROKER_URL := os.environ.get("PROJECT_BROKER_URL"):
    TASKS: dict[str, Any] = {
        "default": {
            "BACKEND": "vtasks_asgi.backends.valkey.ValkeyTaskBackend",
            "OPTIONS": {"BROKER_URL": BROKER_URL},
        }
    }
else:
    TASKS = {"default": {"BACKEND": "vtasks_asgi.backends.database.DatabaseTaskBackend"}}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"}
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": os.environ.get("PROJECT_LOG_LEVEL", "INFO"), "handlers": ["console"]},
    # Django logs each start and finish of a task at INFO: that is what the ledger is for.
    "loggers": {"django.tasks": {"level": "WARNING"}},
}
