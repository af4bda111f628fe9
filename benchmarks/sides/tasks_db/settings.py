"""django-tasks-db at its defaults. It keeps every finished task until it is pruned."""

from benchmarks.sides.common import *  # noqa: F403

INSTALLED_APPS = ["django_tasks_db"]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["default"]}}
