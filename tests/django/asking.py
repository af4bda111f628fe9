"""Tasks that ask for something: other retries, an end in time, a note, another's trace."""

import asyncio
import contextvars
import threading
import time
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async

from tests.django import sample
from tests.django.sample import AT_ONCE
from vtasks_asgi import VTaskContext, task
from vtasks_asgi.exceptions import DiscardTask, RetryTask, TaskInterrupt


class Refused(ConnectionError): ...


ERRORS: dict[str, type[BaseException]] = {
    "Refused": Refused,
    "KeyError": KeyError,
    "ValueError": ValueError,
}


@task(backoff=AT_ONCE, retry_on=(OSError, "builtins.KeyError"))
def picky(kind: str) -> None:
    raise ERRORS[kind]


@task(backoff=AT_ONCE, dont_retry_on=("tests.django.asking.Refused",))
async def apicky(kind: str) -> None:
    raise ERRORS[kind]


@task(max_attempts=2, dont_retry_on=(RetryTask,))
def asks_again(delay: float | None) -> None:
    raise RetryTask("the file is not there yet", delay=delay)


@task(max_attempts=2)
async def aasks_again(delay: float | None) -> None:
    raise RetryTask("the file is not there yet", delay=delay)


@task(max_attempts=9)
def discards(reason: str) -> None:
    raise DiscardTask(reason)


@task(max_attempts=9)
async def adiscards(reason: str) -> None:
    raise DiscardTask(reason)


def _waits(attempt: int, error: BaseException) -> float:
    sample.SEEN.append((attempt, type(error).__name__))
    if isinstance(error, KeyError):
        raise LookupError("no idea how long")
    return 1000.0 * attempt


@task(backoff=_waits)
def waits_by_function(kind: str) -> None:
    raise ERRORS[kind]


# -- time limits


@task(max_attempts=1, timeout=0.05)
async def asleeps(swallow: bool = False) -> str:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        sample.SEEN.append("cancelled")
        if not swallow:
            raise
    return "went on"


@task(max_attempts=1, timeout=0.05)
def spins(seconds: float = 20.0) -> str:
    """Never leaves Python code for long."""
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            time.sleep(0.001)
    except TaskInterrupt:
        sample.SEEN.append("interrupted")
        raise
    return "went on"


@task(max_attempts=1, timeout=0.05, transactional=True)
def writes_and_spins(name: str) -> str:
    sample.write(name)
    return str(spins.func())


@task(max_attempts=1, timeout=0.05)
def hangs() -> str:
    """Sits in C code, where no exception can reach it."""
    sample.MEETING.arrived.release()
    sample.MEETING.go.wait(20.0)
    return "too late"


@task(max_attempts=1, timeout=0.05)
async def ahangs() -> str:
    """Will not be cancelled."""
    sample.MEETING.arrived.release()
    while not sample.MEETING.go.is_set():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            sample.SEEN.append("cancelled")
    return "too late"


@task(max_attempts=1, timeout=0.05)
async def ahangs_in_a_thread() -> str:
    await sync_to_async(hangs.func)()
    return "too late"


@task(timeout=60.0)
def spins_within_limit(seconds: float) -> str:
    return str(spins.func(seconds))


@task(timeout=60.0, transactional=True)
def writes_within_limit(name: str) -> None:
    sample.write(name)


@task(timeout=60.0)
def waits_within_limit() -> str:
    return sample.waits_in_thread.func()


@task(timeout=60.0)
async def awaits_within_limit() -> str:
    return await sample.waits_on_loop.acall()


@task(max_attempts=2, backoff=AT_ONCE, timeout=0.05, takes_context=True)
async def slow_at_first(context: VTaskContext) -> str:
    if context.attempt == 1:
        await asyncio.Event().wait()
    return "in time"


@task(max_attempts=2, backoff=AT_ONCE, timeout=0.05, dont_retry_on=(TimeoutError,))
async def slow_once() -> None:
    await asyncio.Event().wait()


@task(max_attempts=1, timeout=30.0)
async def times_out_itself() -> None:
    raise TimeoutError("somebody else's")


@task(timeout=30.0, takes_context=True)
async def adeadline(context: VTaskContext) -> list[Any]:
    return [_told(context.deadline), context.remaining()]


@task(timeout=30.0, takes_context=True)
def deadline(context: VTaskContext) -> list[Any]:
    return [_told(context.deadline), context.remaining()]


@task(takes_context=True)
def no_deadline(context: VTaskContext) -> list[Any]:
    return [_told(context.deadline), context.remaining()]


def _told(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


# -- the context


@task(takes_context=True)
def tells_context(context: VTaskContext, *args: Any) -> list[Any]:
    return [context.attempt, context.fence, context.cancelled, context.stopping]


@task(takes_context=True)
async def awaits_stop(context: VTaskContext) -> str:
    sample.MEETING.arrived.release()
    while not context.stopping:  # noqa: ASYNC110 - as tasks do
        await asyncio.sleep(0.005)
    return "stopped by itself"


@task(takes_context=True, metadata={"from": "the decorator"})
def tells_metadata(context: VTaskContext) -> dict[str, Any]:
    return dict(context.metadata)


@task(takes_context=True, max_attempts=3, backoff=AT_ONCE)
def resumes(context: VTaskContext, pages: int = 3) -> list[Any]:
    """Fails after each page, and goes on with the next one."""
    page = context.load(0)
    if page < pages:
        context.progress(page + 1, pages, f"page {page + 1}")
        context.save(page + 1)
        if page + 1 < pages:
            raise ValueError(f"after page {page + 1}")
    return [context.attempt, context.load()]


@task(takes_context=True, max_attempts=3, backoff=AT_ONCE)
async def aresumes(context: VTaskContext, pages: int = 3) -> list[Any]:
    page = context.load(0)
    if page < pages:
        context.progress(page + 1, pages, f"page {page + 1}")
        await context.asave(page + 1)
        if page + 1 < pages:
            raise ValueError(f"after page {page + 1}")
    return [context.attempt, context.load()]


@task(takes_context=True, max_attempts=1)
def notes_then_waits(context: VTaskContext, value: Any) -> str:
    # First, so that it is written when save returns: progress before it might be written alone.
    sample.SEEN.append(context.save(value))
    context.progress(1, 2, "half")
    sample.MEETING.arrived.release()
    sample.MEETING.go.wait(20.0)
    return "went"


@task(takes_context=True, max_attempts=1)
async def anotes_then_waits(context: VTaskContext, value: Any) -> str:
    context.progress(1, 2, "half")
    sample.SEEN.append(await context.asave(value))
    sample.MEETING.arrived.release()
    await asyncio.Event().wait()
    return "never"


@task(takes_context=True, max_attempts=1)
def notes_often(context: VTaskContext, times: int) -> int:
    for number in range(times):
        context.progress(number + 1, times)
        context.save({"at": number + 1})
    return times


@task(takes_context=True, max_attempts=2, backoff=AT_ONCE, transactional=True)
def notes_together(context: VTaskContext, fail: bool) -> Any:
    """Writes a row for each page, and says so."""
    page = context.load(0)
    sample.write(f"page {page}")
    context.progress(page + 1)
    sample.SEEN.append(context.save(page + 1))
    if fail and context.attempt == 1:
        raise ValueError("after the page was written")
    return context.load()


@task(takes_context=True, max_attempts=1)
def saves(context: VTaskContext, kind: str) -> None:
    values: dict[str, Any] = {"object": object(), "nan": float("nan"), "huge": "x" * 20_000_000}
    context.save(values[kind])


@task(takes_context=True, max_attempts=1)
async def saves_on_the_loop(context: VTaskContext) -> None:
    context.save(1)


@task(takes_context=True, max_attempts=1)
def progresses(context: VTaskContext, done: Any, total: Any, message: Any) -> None:
    context.progress(done, total, message)


# -- what is carried

TENANT: contextvars.ContextVar[Any] = contextvars.ContextVar("tenant")
LANGUAGE: contextvars.ContextVar[str] = contextvars.ContextVar("language", default="en")


@task
def tells_variables() -> list[Any]:
    return [TENANT.get(None), LANGUAGE.get()]


@task
async def atells_variables() -> list[Any]:
    return [TENANT.get(None), LANGUAGE.get(), threading.current_thread().name]
