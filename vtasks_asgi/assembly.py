"""Puts a runtime together from settings: the same one for web server and standalone worker."""

import difflib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from secrets import token_hex
from typing import Any

from django.tasks.exceptions import InvalidTask, InvalidTaskBackend
from django.utils.module_loading import import_string

from vtasks_asgi import propagation, registry
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.backends.validate import batch_problem
from vtasks_asgi.batches import BatchInvoker
from vtasks_asgi.conf import Options, options, time_zone
from vtasks_asgi.core.clock import SystemClock
from vtasks_asgi.core.schedule import Entry, ScheduleError, parse_entry
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.observe.logs import Logs
from vtasks_asgi.observe.metrics import Metrics
from vtasks_asgi.runtime.config import PoolConfig, RuntimeConfig
from vtasks_asgi.runtime.cron import Cron
from vtasks_asgi.runtime.events import Listener, hub
from vtasks_asgi.runtime.runtime import Runtime
from vtasks_asgi.store.base import FullStore
from vtasks_asgi.tasks import backend_of

_listening: list[Listener] = []


def assemble(
    *,
    backend: str | None = None,
    queues: Sequence[str] | None = None,
    concurrency: int | None = None,
    scheduler: bool | None = None,
    worker: str | None = None,
) -> Runtime:
    """A runtime ready to ``run``. What is None comes from the settings.

    Raises:
        ConfigurationError: naming what is wrong and the fix.
    """
    settings = options()
    chosen = find_backend(backend or settings.backend)
    registry.discover()
    if problems := list(registry.problems()):
        raise ConfigurationError(*problems)
    propagation.variables()
    config = RuntimeConfig(
        worker=worker or settings.worker_id or f"worker-{token_hex(6)}",
        pools=_pools(settings, chosen, queues, concurrency or settings.concurrency),
        lease=settings.lease,
        drain_timeout=settings.drain_timeout,
        batches=settings.batch_queues,
    )
    run_scheduler = settings.run_scheduler if scheduler is None else scheduler
    entries = [each for each in schedule_entries(chosen) if each.enabled] if run_scheduler else []
    listen(settings, config.queues)
    clock = SystemClock()
    store = chosen.make_store()
    invoke = BatchInvoker(
        alias=chosen.alias,
        sender=type(chosen),
        worker=config.worker,
        events=hub,
        result_ttl=chosen.result_ttl,
        max_rescues=settings.max_rescues,
        max_result=chosen.max_payload,
        joint=chosen.joint(store),
        save=store.save,
        hook=propagation.hook(),
    )
    cron = None
    if entries:
        make = chosen.tick_message
        cron = Cron(store, entries, make, hub, clock, announce=chosen.announce)
    rescue, announce = invoke.rescue, chosen.announce
    return Runtime(
        chosen.alias, store, invoke, rescue, config, events=hub, cron=cron, announce=announce
    )


def find_backend(alias: str) -> VTasksBackend:
    """The backend of that alias, if it is one of ours.

    Raises:
        ConfigurationError: it is not, or its options are wrong.
    """
    try:
        backend = backend_of(alias)
    except InvalidTaskBackend as error:
        raise ConfigurationError(f"TASKS[{alias!r}]: {error}") from error
    if not isinstance(backend, VTasksBackend):
        kind = f"{type(backend).__module__}.{type(backend).__qualname__}"
        raise ConfigurationError(
            f"TASKS[{alias!r}] is a {kind}, which has no worker; use"
            " 'vtasks_asgi.backends.database.DatabaseTaskBackend'"
        )
    backend.require_good_options()
    return backend


@asynccontextmanager
async def opened(backend: VTasksBackend) -> AsyncIterator[FullStore]:
    """A store of that backend for the duration of the body, beside any that a runtime has.

    Raises:
        ConfigurationError: wrong options, or a backend that keeps no messages.
        StoreError: it cannot be opened.
    """
    store = backend.make_store()
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


def schedule_entries(backend: VTasksBackend) -> list[Entry]:
    """The entries of VTASKS_SCHEDULE, checked against the registry and the backend.

    Their ``enabled`` is True or False, as it is at this moment.

    Raises:
        ConfigurationError: naming every wrong entry.
    """
    entries: list[Entry] = []
    problems: list[str] = []
    for name, raw in options().schedule.items():
        try:
            entry = parse_entry(name, raw, default_zone=time_zone())
        except ScheduleError as error:
            problems.extend(error.problems)
            continue
        problems.extend(_entry_problems(entry, backend))
        try:
            entries.append(replace(entry, enabled=_enabled(entry)))
        except ValueError as error:
            problems.append(f"VTASKS_SCHEDULE[{name!r}]['enabled'] {error}")
    if problems:
        raise ConfigurationError(*problems)
    return entries


def batch_problems() -> Iterator[str]:
    """What is wrong with the tasks that batch queues name."""
    for queue, batch in options().batch_queues.items():
        if batch.task is None:
            continue
        where = f"the batch queue {queue!r} has the task"
        if (known := registry.find(batch.task)) is None:
            yield f"{where} {_unregistered(batch.task)}"
        elif problem := batch_problem(known.task):
            yield f"{where} {batch.task!r}, but {problem}"


def _unregistered(name: str) -> str:
    near = difflib.get_close_matches(name, registry.names(), n=1)
    hint = f"did you mean {near[0]!r}?" if near else "add its module to VTASKS_IMPORTS"
    return f"{name!r}, which is not a registered task; {hint}"


def _enabled(entry: Entry) -> bool:
    switch: Any = entry.enabled
    if isinstance(switch, str):
        try:
            switch = import_string(switch)
        except ImportError as error:
            raise ValueError(f"is {entry.enabled!r}: {error}") from error
    answer: object = switch() if callable(switch) else switch
    if not isinstance(answer, bool):
        kind = type(answer).__qualname__
        raise ValueError(f"came to a {kind}; it must come to True or False")
    return answer


def _entry_problems(entry: Entry, backend: VTasksBackend) -> Iterator[str]:
    where = f"VTASKS_SCHEDULE[{entry.name!r}]"
    registry.discover()
    if registry.find(entry.task) is None:
        yield f"{where}['task'] is {_unregistered(entry.task)}"
        return
    try:
        backend.tick_message(entry, 0.0)
    except (InvalidTask, TypeError, ValueError) as error:
        yield f"{where}: {error}"


def _pools(
    settings: Options, backend: VTasksBackend, queues: Sequence[str] | None, concurrency: int
) -> tuple[PoolConfig, ...]:
    """One pool for the queues without slots of their own, and one for each that has some."""
    if wrong := list(batch_problems()):
        raise ConfigurationError(*wrong)
    wanted = list(dict.fromkeys(queues or settings.queues))
    for queue in wanted:
        if backend.queues and queue not in backend.queues:
            raise ConfigurationError(
                f"queue {queue!r} is not one of backend {backend.alias!r}: add it to VTASKS_QUEUES"
                f" or to TASKS[{backend.alias!r}]['QUEUES']"
            )
    shared = tuple(queue for queue in wanted if settings.queues.get(queue) is None)
    pools = [PoolConfig(shared, concurrency)] if shared else []
    pools.extend(PoolConfig((q,), size) for q in wanted if (size := settings.queues.get(q)))
    return tuple(pools)


def listen(settings: Options, queues: Sequence[str] = ()) -> None:
    """Let metrics and logs hear the hub, once per process; ``queues`` are known besides."""
    for listener in _listening:
        hub.remove(listener)
    _listening[:] = [
        Metrics(
            known_task=lambda name: registry.find(name) is not None,
            queues=(*settings.queues, *queues),
            schedules=settings.schedule,
        ),
        Logs(),
    ]
    for listener in _listening:
        hub.add(listener)
