"""Every side that can be measured, by the store it is measured on."""

from dataclasses import replace

from benchmarks.side import Side

RESULTS_OFF = {"BENCH_RESULTS": "off"}

#: Our default: each result is kept for an hour. The same on every store.
OURS = Side("ours", "ours")
OURS_BARE = Side("ours, results off", "ours", RESULTS_OFF)
#: Django logs two lines at INFO for every task run through its API, which is its default level;
#: the peer does not go through that API.
OURS_LOGGED = Side("ours, Django logs INFO", "ours", {"BENCH_DJANGO_LOGS": "INFO"})

#: Keeps no results on any store.
VTASKS = Side("django-vtasks", "vtasks", needs="django_vtasks")

# -- Valkey
CELERY = Side("celery", "celery", RESULTS_OFF, needs="celery")
CELERY_RESULTS = Side("celery, results on", "celery", needs="celery")
RQ = Side("django-tasks-rq", "rq", needs="django_tasks_rq")
SAQ = Side("saq", "saq", RESULTS_OFF, needs="saq")
SAQ_RESULTS = Side("saq, results on", "saq", needs="saq")

# -- databases
OX = Side("django-ox", "ox", needs="django_ox")
DJ_QUEUE = Side("dj-queue", "dj_queue", RESULTS_OFF, needs="dj_queue")
DJ_QUEUE_RESULTS = Side("dj-queue, results on", "dj_queue", needs="dj_queue")
TASKS_DB = Side("django-tasks-db", "tasks_db", needs="django_tasks_db")
PROCRASTINATE = Side("procrastinate", "procrastinate", RESULTS_OFF, needs="procrastinate")
PROCRASTINATE_RESULTS = Side("procrastinate, results on", "procrastinate", needs="procrastinate")


def needing(module: str, *sides: Side) -> tuple[Side, ...]:
    """The same sides, with what they need of this store's code."""
    return tuple(replace(side, needs=module) for side in sides)
