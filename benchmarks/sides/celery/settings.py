"""Celery with Django as its "First steps with Django" has it, on the same server.

Prefetching (4 messages a thread) and acknowledging (before the task runs) are at their defaults.
"""

from benchmarks.sides.common import *  # noqa: F403
from benchmarks.sides.common import BROKER, RESULTS

INSTALLED_APPS: list[str] = []
CELERY_BROKER_URL = BROKER
CELERY_TASK_IGNORE_RESULT = not RESULTS
CELERY_RESULT_BACKEND = BROKER if RESULTS else None
