"""One process is a whole Django deployment. See README.md, and docs/ for everything else."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Backoff",
    "Group",
    "GroupProgress",
    "UniqueTask",
    "VTask",
    "VTaskContext",
    "VTaskResult",
    "__version__",
    "agroup",
    "get_group",
    "group",
    "task",
]

if TYPE_CHECKING:
    from vtasks_asgi.context import VTaskContext
    from vtasks_asgi.decorator import task
    from vtasks_asgi.groups import Group, GroupProgress, agroup, get_group, group
    from vtasks_asgi.task_result import VTaskResult
    from vtasks_asgi.tasks import Backoff, UniqueTask, VTask


def __getattr__(name: str) -> Any:
    # Lazy, so that Django can import this package as an app before its settings are usable.
    if name in __all__:
        from vtasks_asgi import context, decorator, groups, task_result, tasks

        rooms = dict.fromkeys(("Group", "GroupProgress", "agroup", "get_group", "group"), groups)
        rooms |= {"task": decorator, "VTaskContext": context, "VTaskResult": task_result}
        return getattr(rooms.get(name, tasks), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
