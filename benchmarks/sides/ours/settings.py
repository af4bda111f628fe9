"""vtasks_asgi on the same database settings, everything else at its defaults.

``BENCH_RESULT_TTL=0`` switches results off, which the peer never keeps.
"""

import os

from benchmarks.sides.common import *  # noqa: F403

INSTALLED_APPS = ["vtasks_asgi", "vtasks_asgi.db"]
TASKS = {
    "default": {
        "BACKEND": "vtasks_asgi.backends.database.DatabaseTaskBackend",
        "QUEUES": [],
        "OPTIONS": {"RESULT_TTL": float(os.environ.get("BENCH_RESULT_TTL", "3600"))},
    }
}
VTASKS_IMPORTS = ["benchmarks.sides.tasks"]
