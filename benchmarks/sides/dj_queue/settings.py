"""dj-queue as its documentation has it, in one process (``--mode async``).

``preserve_finished_jobs`` is whether results are kept, for a day if so.
"""

from benchmarks.sides.common import *  # noqa: F403
from benchmarks.sides.common import RESULTS

INSTALLED_APPS = ["dj_queue"]
DATABASE_ROUTERS = ["dj_queue.routers.DjQueueRouter"]
#: ``side.worker`` says how many threads.
WORKER: dict[str, object] = {"queues": ["default"]}
TASKS = {
    "default": {
        "BACKEND": "dj_queue.backend.DjQueueBackend",
        "QUEUES": [],
        "OPTIONS": {"mode": "async", "preserve_finished_jobs": RESULTS, "workers": [WORKER]},
    }
}
