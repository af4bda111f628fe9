"""What the jobs ask of a side."""

from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Protocol, cast

from benchmarks.inprocess import App


class Side(Protocol):
    """Implemented by the modules ``ours.side`` and ``peer.side``."""

    def worker(self, concurrency: int) -> AbstractAsyncContextManager[None]:
        """A worker of queue ``default`` in the running loop; leaving it drains and settles."""
        ...

    def wrap(self, app: App) -> App:
        """The side's all-in-one application around ``app``."""
        ...


def load(package: str) -> Side:
    """The adapter of ``package``, ``ours`` or ``peer``; Django must be set up."""
    return cast("Side", import_module(f"benchmarks.sides.{package}.side"))
