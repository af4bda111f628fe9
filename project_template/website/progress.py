"""What the page says about jobs and ticks, as plain strings for the HTML and the JSON alike."""

import os
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.tasks import TaskResult, TaskResultStatus, task_backends
from django.tasks.exceptions import TaskResultDoesNotExist
from django.utils import timezone

from website.models import Job, Tick

SHOWN = 20
#: After this long without a tick something is wrong: the schedule fires every five seconds.
QUIET = timedelta(seconds=20)
STARTED = timezone.now()


async def snapshot() -> dict[str, Any]:
    """Everything on the page that changes."""
    jobs = [describe(job, await find(job)) async for job in Job.objects.all()[:SHOWN]]
    states = [job["state"] for job in jobs]
    return {
        "jobs": jobs,
        "waiting": str(states.count("ready") + states.count("retrying")),
        "running": str(states.count("running")),
        "finished": str(states.count("done") + states.count("failed")),
        **describe_tick(await Tick.objects.afirst(), timezone.now()),
        "process": str(os.getpid()),
    }


async def find(job: Job) -> TaskResult | None:
    """The job's result; None once it has expired (RESULT_TTL) or where none are kept."""
    try:
        return await task_backends["default"].aget_result(job.result_id)
    except (TaskResultDoesNotExist, NotImplementedError):
        return None


def describe(job: Job, result: TaskResult | None) -> dict[str, Any]:
    """One row."""
    state = state_of(result)
    return {
        "id": job.pk,
        "label": job.get_kind_display(),
        "state": state,
        "progress": 100 if state == "done" else job.progress,
        "attempts": f"attempt {result.attempts}" if result and result.attempts > 1 else "",
        "timing": timing(result) if result else "",
        "detail": detail(result) if result else "its result is no longer kept",
    }


def state_of(result: TaskResult | None) -> str:
    """One word: ready, retrying, running, done, failed or expired."""
    match result and result.status:
        case TaskResultStatus.READY:
            return "retrying" if result and result.errors else "ready"
        case TaskResultStatus.RUNNING:
            return "running"
        case TaskResultStatus.SUCCESSFUL:
            return "done"
        case TaskResultStatus.FAILED:
            return "failed"
    return "expired"


def timing(result: TaskResult) -> str:
    """How long it waited before its first attempt, and how long the last one took."""
    said = []
    if result.enqueued_at and result.started_at:
        said.append(f"waited {length(result.enqueued_at, result.started_at)}")
    if result.last_attempted_at and result.finished_at:
        said.append(f"ran {length(result.last_attempted_at, result.finished_at)}")
    return " · ".join(said)


def length(start: datetime, end: datetime) -> str:
    seconds = max((end - start).total_seconds(), 0.0)
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def detail(result: TaskResult) -> str:
    """What it returned, or how it last failed. Tracebacks stay inside, except with DEBUG."""
    if result.status == TaskResultStatus.SUCCESSFUL:
        return str(result.return_value)
    if not result.errors:
        return ""
    error = result.errors[-1]
    if settings.DEBUG:
        return error.traceback.strip().splitlines()[-1]
    return error.exception_class_path


def describe_tick(tick: Tick | None, now: datetime) -> dict[str, str]:
    """The schedule: how often it fired, and when last."""
    # A server that has only just started had no chance to tick yet.
    since = max(tick.at, STARTED) if tick else STARTED
    schedule = "quiet" if now - since > QUIET else "ticking"
    if tick is None:
        return {"tick": "0", "tick_age": "waiting for the first", "schedule": schedule}
    age = max((now - tick.at).total_seconds(), 0)
    return {"tick": str(tick.pk), "tick_age": f"{age:.0f} s ago", "schedule": schedule}
