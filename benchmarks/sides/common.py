"""Django settings all sides share; each side adds its apps and its task backend."""

import json
import os

DEBUG = False
SECRET_KEY = "benchmarks-only"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "benchmarks.sides.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

#: The name of the engine, and where on it; see ``benchmarks.engines``.
STORE = os.environ["BENCH_STORE"]
BROKER = os.environ.get("BENCH_BROKER", "")
DATABASES = {"default": json.loads(os.environ["BENCH_DATABASE"])}

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

#: Whether results of tasks are kept, by packages that leave one the choice.
RESULTS = os.environ.get("BENCH_RESULTS") != "off"
#: What the embedded worker of the web server consumes, and how many tasks it runs at once.
VTASKS_QUEUES = os.environ.get("BENCH_QUEUES", "default").split(",")
VTASKS_CONCURRENCY = int(os.environ.get("BENCH_CONCURRENCY", "100"))
