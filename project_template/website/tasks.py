"""Tasks: plain functions, sync or async, that run outside the request that asked for them."""

import asyncio
import os
import time

from django.core.management import call_command
from django.tasks import TaskContext
from vtasks_asgi import Backoff, task

from website.models import Job, Tick

KEPT_TICKS = 20


@task
async def hello() -> str:
    """Async: waits on the server's own event loop, and costs no thread."""
    await asyncio.sleep(1)
    return f"hello from process {os.getpid()}"


@task(takes_context=True)
def count(context: TaskContext) -> str:
    """Sync and slow: runs in a thread, and writes how far it is where the page can see it."""
    job = Job.objects.filter(result_id=context.task_result.id)
    for percent in range(10, 101, 10):
        time.sleep(0.4)
        job.update(progress=percent)
    return f"counted to ten in process {os.getpid()}"


@task(takes_context=True, max_attempts=3, backoff=Backoff(base=2, factor=2, jitter=0))
async def flaky(context: TaskContext) -> str:
    """Fails twice on purpose: tried again after two seconds, then after four."""
    await asyncio.sleep(0.5)
    if context.attempt < 3:
        raise RuntimeError(f"attempt {context.attempt} fails on purpose")
    return f"third time lucky in process {os.getpid()}"


@task(result_ttl=0)
def heartbeat() -> None:
    """Every few seconds, by VTASKS_SCHEDULE in the settings."""
    tick = Tick.objects.create()
    Tick.objects.filter(pk__lte=tick.pk - KEPT_TICKS).delete()


@task(result_ttl=0)
def clear_sessions() -> None:
    """Every night: sessions that have expired."""
    call_command("clearsessions")
