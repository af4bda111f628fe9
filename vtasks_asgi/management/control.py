"""``vtasks cancel``, ``pause`` and ``resume``."""

import difflib
from collections.abc import Collection, Sequence

from vtasks_asgi import registry
from vtasks_asgi.assembly import opened
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.conf import options
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.management import words
from vtasks_asgi.store.base import FullStore, QueueStats
from vtasks_asgi.store.control import Cancel

CANCELS = {
    Cancel.CANCELLED: "cancelled before it began",
    Cancel.ASKED: "running: asked to end",
    Cancel.FINISHED: "not cancelled: it has ended",
    Cancel.UNKNOWN: "not cancelled: there is no such task",
}


async def cancel(backend: VTasksBackend, ids: Sequence[str]) -> dict[str, Cancel]:
    """What became of each of these results."""
    async with opened(backend) as store:
        return (await store.cancel(ids)).outcomes


async def pause(
    backend: VTasksBackend, queues: Sequence[str], tasks: Sequence[str], seconds: float | None
) -> list[str]:
    """Pause all of these, or none when one is unknown; what to tell.

    Raises:
        ConfigurationError: naming what is unknown, and perhaps what was meant.
    """
    async with opened(backend) as store:
        known = await _known_queues(backend, store, queues)
        problems = [_unknown("queue", each, known) for each in queues if each not in known]
        problems += [_unknown("task", each, _tasks()) for each in tasks if each not in _tasks()]
        if problems:
            raise ConfigurationError(*problems)
        until = None if seconds is None else (await store.ticks([])).now + seconds
        for queue in queues:
            await store.pause(queue, until)
        for task in tasks:
            await store.pause_task(task, until)
    names = [f"queue {each!r}" for each in queues] + [f"task {each!r}" for each in tasks]
    return [f"{name} is paused {words.until(until)}" for name in names]


async def resume(backend: VTasksBackend, queues: Sequence[str], tasks: Sequence[str]) -> list[str]:
    """Let these go on, what is paused whether or not it is known here; what to tell.

    Raises:
        ConfigurationError: something is neither paused nor known; nothing has changed.
    """
    async with opened(backend) as store:
        paused = await store.paused()
        known = paused.queues.keys() | await _known_queues(backend, store, queues)
        named = paused.tasks.keys() | _tasks()
        problems = [_unknown("queue", each, known) for each in queues if each not in known]
        problems += [_unknown("task", each, named) for each in tasks if each not in named]
        if problems:
            raise ConfigurationError(*problems)
        were = {f"queue {each!r}": await store.resume(each) for each in queues}
        were |= {f"task {each!r}": await store.resume_task(each) for each in tasks}
    return [f"{name} {'goes on' if was else 'was not paused'}" for name, was in were.items()]


async def _known_queues(backend: VTasksBackend, store: FullStore, asked: Sequence[str]) -> set[str]:
    """Those of the settings, and those asked for that hold anything."""
    known = {*options().queues, *backend.queues}
    others = [queue for queue in asked if queue not in known]
    found = await store.stats(others)
    return known | {queue for queue in others if found[queue] != QueueStats()}


def _tasks() -> set[str]:
    registry.discover()
    return set(registry.names())


def _unknown(kind: str, name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known)[:10])}"
    return f"there is no {kind} {name!r}; {hint}"
