"""django-vtasks on the same server, everything else at its defaults.

Its backend for Valkey always uses the Rust driver of django-vcache, here with a connection of its
own from ``BROKER_URL``, as its documentation begins.
"""

from benchmarks.sides.common import *  # noqa: F403
from benchmarks.sides.common import BROKER

INSTALLED_APPS = ["django_vtasks", *([] if BROKER else ["django_vtasks.db"])]
TASKS: dict[str, dict[str, object]] = {
    "default": {
        "BACKEND": "django_vtasks.backends.valkey.ValkeyTaskBackend"
        if BROKER
        else "django_vtasks.backends.db.DatabaseTaskBackend",
        "QUEUES": [],
        "OPTIONS": {"BROKER_URL": BROKER} if BROKER else {},
    }
}
