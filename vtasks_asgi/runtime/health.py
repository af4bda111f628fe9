"""What the runtime knows about itself, as words and numbers. ``observe.endpoints`` renders it."""

from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """One word for the whole runtime.

    ``STARTING`` the store is not open yet; ``OK``; ``DEGRADED`` alive, but a service fails or a
    queue makes no progress; ``DRAINING`` stop was asked for; ``STOPPED`` nothing runs.
    """

    STARTING = "starting"
    OK = "ok"
    DEGRADED = "degraded"
    DRAINING = "draining"
    STOPPED = "stopped"


@dataclass(slots=True)
class QueueHealth:
    """``idle_for`` is the time since the last completed claim round-trip, in seconds."""

    idle_for: float | None = None
    running: int = 0
    oldest_ready: float | None = None
    paused: bool = False


@dataclass(slots=True)
class Health:
    """A snapshot. ``problems`` are fixed words such as ``store_unavailable``, never data."""

    status: Status
    problems: list[str] = field(default_factory=list)
    worker: str = ""
    queues: dict[str, QueueHealth] = field(default_factory=dict)
    ticks: dict[str, float] = field(default_factory=dict)
    loop_lag: float = 0.0
    uptime: float = 0.0

    @property
    def ready(self) -> bool:
        return self.status is Status.OK
