"""vtasks_asgi on the same server, everything else at its defaults."""

from benchmarks.sides.common import *  # noqa: F403
from benchmarks.sides.common import BROKER, RESULTS

INSTALLED_APPS = ["vtasks_asgi", *([] if BROKER else ["vtasks_asgi.db"])]
OPTIONS: dict[str, object] = {"RESULT_TTL": 3600.0 if RESULTS else 0.0}
if BROKER:
    OPTIONS["BROKER_URL"] = BROKER
TASKS: dict[str, dict[str, object]] = {
    "default": {
        "BACKEND": "vtasks_asgi.backends.valkey.ValkeyTaskBackend"
        if BROKER
        else "vtasks_asgi.backends.database.DatabaseTaskBackend",
        "QUEUES": [],
        "OPTIONS": OPTIONS,
    }
}
VTASKS_IMPORTS = ["benchmarks.sides.tasks"]
