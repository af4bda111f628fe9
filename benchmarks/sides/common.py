"""Django settings both sides share; each side adds its apps and its task backend."""

import os

DEBUG = False
SECRET_KEY = "benchmarks-only"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "benchmarks.sides.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["BENCH_DATABASE"],
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "stderr": {"class": "logging.StreamHandler"},
        "complaints": {"class": "benchmarks.complaints.Complaints"},
    },
    "root": {"handlers": ["stderr", "complaints"], "level": "WARNING"},
    # Django's default for its own loggers is INFO, which logs two lines for every task it runs.
    "loggers": {"django": {"level": os.environ.get("BENCH_DJANGO_LOGS", "WARNING")}},
}

#: What the embedded worker of the web server consumes, and how many tasks it runs at once.
VTASKS_QUEUES = os.environ.get("BENCH_QUEUES", "default").split(",")
VTASKS_CONCURRENCY = int(os.environ.get("BENCH_CONCURRENCY", "100"))
