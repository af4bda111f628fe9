"""What was enqueued, and assertions about it whose failures show all there was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.json import normalize_json

from vtasks_asgi import lanes, results
from vtasks_asgi.backends.answers import AnyTask
from vtasks_asgi.results import AnyResult
from vtasks_asgi.store.base import FullStore, State
from vtasks_asgi.testing.capture import active
from vtasks_asgi.testing.stores import chosen, looked_into, queues_of

#: Records asked of a store at once, and lines of a failure's message.
_PAGE, _TOLD = 500, 50


def enqueued(*, backend: str | None = None) -> list[AnyResult]:
    """What was recorded by the ``capture_tasks()`` around this; without one, what waits.

    What waits is ready or delayed in the store of that backend, by default ``VTASKS_BACKEND``.

    Raises:
        ConfigurationError: that backend cannot tell here; the message says what can.
    """
    if active:
        captured = active[-1]
        return [each for each in captured if backend in (None, each.backend)]
    found = chosen(backend)

    async def waiting() -> list[AnyResult]:
        async with looked_into(found) as store:
            return [
                result
                for queue in queues_of(found)
                for state in (State.READY, State.DELAYED)
                for result in await _browse(store, queue, state, found.alias)
            ]

    return lanes.run_here(waiting)


def assert_enqueued(
    task: AnyTask,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    queue_name: str | None = None,
    count: int | None = None,
    among: Sequence[AnyResult] | None = None,
) -> list[AnyResult]:
    """Fail unless this task was enqueued, ``count`` times or at least once; give what matches.

    What is None may be anything; else ``args`` and ``kwargs`` are compared with all the arguments
    of that kind. ``among`` is where to look: by default in ``enqueued()``.
    """
    everything = enqueued() if among is None else list(among)
    wanted = _Wanted(task, args, kwargs, queue_name)
    matching = [result for result in everything if wanted.is_like(result)]
    good = bool(matching) if count is None else len(matching) == count
    if not good:
        times = "at least once" if count is None else f"{count} times"
        raise AssertionError(
            f"{wanted} should have been enqueued {times}, but was {len(matching)} times."
            f" {_told(everything)}"
        )
    return matching


def refute_enqueued(
    task: AnyTask | None = None,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    queue_name: str | None = None,
    among: Sequence[AnyResult] | None = None,
) -> None:
    """Fail if this task, or without one any task, was enqueued; see ``assert_enqueued``."""
    everything = enqueued() if among is None else list(among)
    wanted = _Wanted(task, args, kwargs, queue_name)
    if any(wanted.is_like(result) for result in everything):
        raise AssertionError(f"{wanted} should not have been enqueued. {_told(everything)}")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What an assertion looks for; None is anything."""

    task: AnyTask | None
    args: Sequence[Any] | None
    kwargs: Mapping[str, Any] | None
    queue_name: str | None

    def is_like(self, result: AnyResult) -> bool:
        return (
            (self.task is None or result.task.func is self.task.func)
            and (self.args is None or result.args == normalize_json(list(self.args)))
            and (self.kwargs is None or result.kwargs == normalize_json(dict(self.kwargs)))
            and (self.queue_name is None or result.task.queue_name == self.queue_name)
        )

    def __str__(self) -> str:
        asked = [
            f"{name}={value!r}"
            for name in ("args", "kwargs", "queue_name")
            if (value := getattr(self, name)) is not None
        ]
        name = self.task.module_path if self.task else "any task"
        return f"{name} with {', '.join(asked)}" if asked else name


def _told(everything: Sequence[AnyResult]) -> str:
    if not everything:
        return "Nothing was enqueued."
    lines = [f"\n  {_line(result)}" for result in everything[:_TOLD]]
    if len(everything) > _TOLD:
        lines.append(f"\n  and {len(everything) - _TOLD} more")
    return f"Enqueued were:{''.join(lines)}"


def _line(result: AnyResult) -> str:
    task = result.task
    arguments = [repr(arg) for arg in result.args]
    arguments += [f"{name}={value!r}" for name, value in result.kwargs.items()]
    line = f"{task.module_path}({', '.join(arguments)}) in queue {task.queue_name!r}"
    line += f", priority {task.priority}" if task.priority else ""
    return line + (f", not before {task.run_after}" if task.run_after else "")


async def _browse(store: FullStore, queue: str, state: State, alias: str) -> list[AnyResult]:
    found, cursor = await store.browse(queue, state, limit=_PAGE)
    while cursor is not None:
        more, cursor = await store.browse(queue, state, limit=_PAGE, cursor=cursor)
        found += more
    return [results.stored(record, alias) for record in found]
