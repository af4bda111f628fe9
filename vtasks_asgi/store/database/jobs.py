"""Work handed to a thread that owns a database connection, and its answers on their way back."""

import asyncio
import queue
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

type Work[C, T] = Callable[[C], T]


@dataclass(slots=True)
class Job[C]:
    """``work`` wants something of the connection's; ``loop`` is None when a thread waits."""

    work: Work[C, Any]
    future: asyncio.Future[Any] | Future[Any]
    loop: asyncio.AbstractEventLoop | None
    result: Any = None
    error: BaseException | None = None


def take[J](jobs: "queue.SimpleQueue[J | None]", limit: int) -> tuple[list[J], bool]:
    """All jobs that wait now, at least one and at most ``limit``; True when no more will come."""
    first = jobs.get()
    if first is None:
        return [], True
    taken = [first]
    while len(taken) < limit:
        try:
            job = jobs.get_nowait()
        except queue.Empty:
            break
        if job is None:
            return taken, True
        taken.append(job)
    return taken, False


def deliver(jobs: Iterable[Job[Any]]) -> None:
    """Wake each loop once for all its jobs, and each thread for its own."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Job[Any]]] = {}
    for job in jobs:
        if job.loop is None:
            resolve([job])
        else:
            by_loop.setdefault(job.loop, []).append(job)
    for loop, its_jobs in by_loop.items():
        try:
            loop.call_soon_threadsafe(resolve, its_jobs)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more


def resolve(jobs: Sequence[Job[Any]]) -> None:
    """Answer the futures; on the loop, if they belong to one."""
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
