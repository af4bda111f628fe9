"""What the jobs ask of a side."""

import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache
from importlib import import_module
from typing import Any, Protocol, cast

from benchmarks.inprocess import App

#: Arguments of one call of a task.
type Call = Sequence[Any]


class Side(Protocol):
    """Implemented by the modules ``<package>.side``. Tasks are named as in ``sides.tasks``."""

    #: Enqueue many calls of a task in the package's own bulk call, None if it has none.
    enqueue_many: Callable[[str, Sequence[Call]], Awaitable[object]] | None

    def worker(self, concurrency: int) -> AbstractAsyncContextManager[None]:
        """A worker of queue ``default`` in this process; leaving it drains and settles."""
        ...

    async def enqueue(self, task: str, *args: Any) -> object:
        """Enqueue one call, as the package would have it done in a coroutine."""
        ...

    def wrap(self, app: App) -> App:
        """The package's all-in-one application around ``app``, else ``app`` with a lifespan."""
        ...


@cache
def current() -> Side:
    """The adapter that this process measures; Django must be set up."""
    package = os.environ["BENCH_PACKAGE"]
    return cast("Side", import_module(f"benchmarks.sides.{package}.side"))
