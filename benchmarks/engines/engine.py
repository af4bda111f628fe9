"""What keeps the tasks of a measurement: a library's file or a server started for this run."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from benchmarks.processes import cpu
from tests.services.service import Service


class Engine(ABC):
    """``with`` it. A place is named by a string that only its engine understands."""

    name: ClassVar[str]
    #: Whether a place needs ``manage.py migrate``.
    migrates: ClassVar[bool] = True

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run here, None when it can."""
        return None

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Stop what runs and remove what was written."""

    @property
    def version(self) -> str:
        """For people."""
        raise NotImplementedError

    # -- places

    @abstractmethod
    def fresh(self) -> str:
        """A place with nothing in it."""

    @abstractmethod
    def copy(self, place: str) -> str:
        """A copy of a place that nobody has open, everything written to disk."""

    @abstractmethod
    def discard(self, place: str) -> None:
        """Forget a place."""

    def settle(self, place: str) -> None:  # noqa: B027 - most have nothing to do
        """Do now what the server does by itself within minutes of many writes."""

    @abstractmethod
    def env(self, place: str) -> Mapping[str, str]:
        """What the settings of a side read: ``BENCH_DATABASE``, ``BENCH_BROKER``."""

    # -- looking, without Django and without the packages measured

    @abstractmethod
    def pending(self, package: str, place: str) -> int:
        """Messages of ``package`` that are not done yet."""

    def cpu(self) -> float | None:
        """Processor seconds of the server so far, None when there is no server."""
        return None

    def written(self) -> float | None:
        """Bytes of write-ahead log so far, None when that cannot be told."""
        return None

    def kept(self, place: str) -> float | None:
        """Bytes that the contents of a place take on the server, None when that cannot be told."""
        return None


class Served[S: Service](Engine):
    """An engine with one server, started by ``with``."""

    #: The server, as the tests start it.
    kind: ClassVar[type[Service]]

    def __init__(self) -> None:
        self.server: S = self.make()

    @classmethod
    def missing(cls) -> str | None:
        return cls.kind.missing()

    @abstractmethod
    def make(self) -> S:
        """The server with the configuration it is measured with."""

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()

    def cpu(self) -> float:
        return cpu(self.server.pid)


def as_entry(**entry: Any) -> dict[str, Any]:
    """An entry of Django's DATABASES with what all engines share: connections stay open."""
    return {"CONN_MAX_AGE": None, **entry}
