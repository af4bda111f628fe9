"""procrastinate with Django as its documentation has it.

``delete_jobs`` is whether finished jobs are kept.
"""

from benchmarks.sides.common import *  # noqa: F403
from benchmarks.sides.common import RESULTS

INSTALLED_APPS = ["procrastinate.contrib.django"]
PROCRASTINATE_WORKER_DEFAULTS = {"delete_jobs": "never" if RESULTS else "always"}
