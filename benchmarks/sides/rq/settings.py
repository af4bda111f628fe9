"""django-tasks-rq as its documentation has it, on the same server."""

from benchmarks.sides.common import *  # noqa: F403
from benchmarks.sides.common import BROKER

INSTALLED_APPS = ["django_rq", "django_tasks_rq"]
TASKS = {"default": {"BACKEND": "django_tasks_rq.RQBackend", "QUEUES": ["default"]}}
RQ_QUEUES = {"default": {"URL": BROKER}}
