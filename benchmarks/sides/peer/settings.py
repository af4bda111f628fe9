"""django-vtasks on the same database settings, everything else at its defaults."""

from benchmarks.sides.common import *  # noqa: F403

INSTALLED_APPS = ["django_vtasks", "django_vtasks.db"]
TASKS = {"default": {"BACKEND": "django_vtasks.backends.db.DatabaseTaskBackend", "QUEUES": []}}
