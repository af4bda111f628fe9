"""A future that resumes who awaits it at once, where asyncio's does so a turn of the loop later.

A turn costs a lone caller some microseconds, and each of many callers a handle in the loop.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from typing import Any

type _Callback = Callable[[Any], object]


class Prompt[R](asyncio.Future[R]):
    """To be awaited by one task. Settle it, then hand it to ``resume``."""

    __slots__ = ("_waiting",)

    #: How to resume the task, once there is one that awaits this.
    _waiting: tuple[_Callback, Context]

    def add_done_callback(self, fn: _Callback, /, *, context: Context | None = None) -> None:
        # The task that awaits this calls it. Asyncio is not told, for it would use the loop.
        self._waiting = fn, context or copy_context()

    def cancel(self, msg: Any | None = None) -> bool:
        """As ever: the task goes on a turn later."""
        cancelled = super().cancel(msg)
        if cancelled:
            self.resume_later()
        return cancelled

    def resume(self) -> None:
        """Let the task go on, until it waits for something else; never from within a task."""
        if (waiting := getattr(self, "_waiting", None)) is not None:
            waiting[1].run(waiting[0], self)

    def resume_later(self) -> None:
        """Let it go on in a turn of the loop."""
        if (waiting := getattr(self, "_waiting", None)) is not None:
            self.get_loop().call_soon(waiting[0], self, context=waiting[1])


def resume(settled: Iterable[Prompt[Any]]) -> None:
    """Let those who await these go on: at once, or later where a task calls this.

    What ends the loop, such as KeyboardInterrupt, keeps nobody from going on.
    """
    rest = iter(settled)
    try:
        if asyncio.current_task() is None:
            for each in rest:
                each.resume()
    finally:
        for each in rest:
            each.resume_later()
