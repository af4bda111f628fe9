"""Tasks for packages that pass their arguments by name: all of them as one list, ``args``."""

from collections.abc import Callable
from typing import Any

from benchmarks.sides.tasks import TASKS, is_async


def taking_args(name: str) -> Callable[..., Any]:
    """A function like that task's, whose arguments are a list; a context before it is ignored."""
    function = TASKS[name].func

    async def run(*context: object, args: list[Any]) -> None:
        await function(*args)

    def run_sync(*context: object, args: list[Any]) -> None:
        function(*args)

    return run if is_async(name) else run_sync
