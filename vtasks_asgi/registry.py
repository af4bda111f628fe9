"""Task names and the tasks behind them: the only way from a payload to code.

A task enters when it is decorated. ``discover`` imports each app's ``tasks`` module and the modules
of ``VTASKS_IMPORTS``; nothing is ever imported because a payload names it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import autodiscover_modules

from vtasks_asgi import task_options
from vtasks_asgi.conf import options
from vtasks_asgi.exceptions import ConfigurationError

if TYPE_CHECKING:
    from vtasks_asgi.tasks import VTask


@dataclass(frozen=True, slots=True)
class Registered:
    """A task, and what running it needs to know each time."""

    task: "VTask[Any, Any]"
    name: str
    is_async: bool


_tasks: dict[str, Registered] = {}
_discovered: list[bool] = []


def register(task: "VTask[Any, Any]") -> None:
    """Make a task known. Copies made by ``using()`` share the function and change nothing."""
    name = task.module_path
    known = _tasks.get(name)
    if known is None or known.task.func is not task.func:
        _tasks[name] = Registered(task, name, iscoroutinefunction(task.func))


def find(name: str) -> Registered | None:
    """The task of that name, if it was registered."""
    return _tasks.get(name)


def names() -> Iterator[str]:
    """All names known so far."""
    yield from _tasks


def discover() -> None:
    """Import every module that may define tasks; once per process.

    Raises:
        ConfigurationError: a module of VTASKS_IMPORTS does not exist.
    """
    if _discovered:
        return
    autodiscover_modules("tasks")
    for module in options().imports:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"VTASKS_IMPORTS names {module!r}: {error}") from error
    _discovered.append(True)


def problems() -> Iterator[str]:
    """What is wrong with the tasks known so far that shows only once everything is imported."""
    for known in list(_tasks.values()):  # looking may import more
        yield from task_options.unknown_kinds(known.task)
