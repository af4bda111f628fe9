"""What ``benchmark_vtasks`` measures: a worker of this process, on a queue of its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from secrets import token_hex
from time import perf_counter
from typing import Any

from vtasks_asgi.assembly import assemble, opened
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.core.outcome import Done, Outcome
from vtasks_asgi.decorator import task
from vtasks_asgi.runtime.active import current
from vtasks_asgi.runtime.events import Listener, hub
from vtasks_asgi.runtime.runtime import Runtime
from vtasks_asgi.store.base import Claim, State

QUEUE = "vtasks_benchmark"
#: Seconds a "sleep" task takes: a small query, or a call of a service nearby.
NAP = 0.01


async def noop(payload: str) -> None:
    """Nothing: what is measured is the machinery."""


async def sleep(payload: str) -> None:
    """Waits, as for a service: what is measured is how many wait at once."""
    await asyncio.sleep(NAP)


def sync(payload: str) -> None:
    """Nothing, in a thread."""


TASK_TYPES: dict[str, Callable[[str], Awaitable[None] | None]] = {
    "noop": noop,
    "sleep": sleep,
    "sync": sync,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How many tasks of which type, with how many bytes each, and how many at once."""

    task_type: str
    count: int
    concurrency: int
    payload_size: int


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds that all the enqueues took, and then all the runs."""

    enqueue: float
    process: float


async def waiting(backend: VTasksBackend) -> int:
    """How many messages of the benchmark's queue are there already."""
    async with opened(backend) as store:
        stats = (await store.stats([QUEUE]))[QUEUE]
        return stats.ready + stats.delayed + stats.running + stats.dead


async def clean(backend: VTasksBackend) -> None:
    """Delete whatever is in the benchmark's queue, but for what runs."""
    async with opened(backend) as store:
        for state in (State.READY, State.DELAYED, State.DEAD, State.DONE):
            await store.purge(QUEUE, state)


async def measure(backend: VTasksBackend, plan: Plan) -> Times:
    """Enqueue as a web process does, then run it all as a worker does.

    The tasks are registered here, so no other process knows them.
    """
    with backend.routing.also(QUEUE):
        measured = task(backend=backend.alias, queue_name=QUEUE)(TASK_TYPES[plan.task_type])
        try:
            enqueue = await _enqueue(backend, plan, measured)
            return Times(enqueue, await _process(backend, plan))
        finally:
            await clean(backend)


async def _enqueue(backend: VTasksBackend, plan: Plan, measured: Any) -> float:
    payload = token_hex(plan.payload_size)[: plan.payload_size]
    numbers = iter(range(plan.count))

    async def produce() -> None:
        for _ in numbers:
            await measured.aenqueue(payload)

    async with _alive(_runtime(backend, plan, consuming=False)) as runtime:
        token = current.set(runtime)
        started = perf_counter()
        try:
            async with asyncio.TaskGroup() as producers:
                for _ in range(plan.concurrency):
                    producers.create_task(produce())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        elapsed = perf_counter() - started
        current.reset(token)
    return elapsed


async def _process(backend: VTasksBackend, plan: Plan) -> float:
    finish = _Finish(plan.count)
    hub.add(finish)
    try:
        async with _alive(_runtime(backend, plan)):
            started = perf_counter()
            await finish.reached.wait()
            return perf_counter() - started
    finally:
        hub.remove(finish)


def _runtime(backend: VTasksBackend, plan: Plan, *, consuming: bool = True) -> Runtime:
    runtime = assemble(
        backend=backend.alias, queues=[QUEUE], concurrency=plan.concurrency, scheduler=False
    )
    if not consuming:
        runtime.config = replace(runtime.config, pools=())
    return runtime


@asynccontextmanager
async def _alive(runtime: Runtime) -> AsyncIterator[Runtime]:
    life = asyncio.create_task(runtime.run())
    try:
        while not runtime.is_open and not life.done():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
        yield runtime
    finally:
        runtime.close()
        await life


class _Finish(Listener):
    """Knows when so many tasks have run."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.reached = asyncio.Event()

    def finished(self, claim: Claim, task: str, outcome: Outcome, seconds: float) -> None:
        if claim.queue == QUEUE and isinstance(outcome, Done):
            self._left -= 1
            if self._left == 0:
                self.reached.set()
