"""One entry of ``VTASKS_SCHEDULE``, and which of its ticks are due."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

from vtasks_asgi.core.schedule.base import Schedule

Misfire = Literal["latest", "skip", "all"]
#: True, False, a function that says which, or the dotted path of one.
type Enabled = bool | str | Callable[[], bool]

DEFAULT_MAX_CATCH_UP = 100
#: Seconds; the threshold Quartz uses too.
SKIP_GRACE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What to run, when, and what to do about ticks that nobody was there to fire.

    ``queue_name`` and ``priority`` are None for the task's own. ``misfire`` says which ticks fire
    late: "latest" only the newest one, "all" every one up to the newest ``max_catch_up``, "skip"
    none. ``misfire_grace_time`` is the age in seconds beyond which a tick no longer fires: None
    for no limit, and where it is not given, 60 for "skip" and no limit for the others. ``unique``
    True skips a tick while the message of an earlier one lives, or another one of its
    ``unique_key``; None for what the task says. ``jitter`` is how many seconds a tick's message is
    put off at the most. ``enabled`` is as it was written; who fires ticks finds out what it means.
    """

    name: str
    task: str
    schedule: Schedule
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    queue_name: str | None = None
    priority: int | None = None
    misfire: Misfire = "latest"
    max_catch_up: int = DEFAULT_MAX_CATCH_UP
    misfire_grace_time: float | None = None
    unique: bool | None = None
    unique_key: str | None = None
    jitter: float = 0.0
    enabled: Enabled = True

    def start(self, at: float) -> float | None:
        """When the message of the tick ``at`` is due; None for at once, there being no jitter.

        The wait is a hash of tick and name, so it is the same in every process and at every try.
        """
        if not self.jitter:
            return None
        digest = sha256(f"{at:.6f} {self.name}".encode()).digest()
        return at + self.jitter * int.from_bytes(digest[:6]) / (1 << 48)

    def due(self, now: float, last: float | None) -> list[float]:
        """The ticks to push now, oldest first, after ``last``, the newest one recorded.

        ``last`` None means that the schedule is new here: nothing fires, the caller records
        ``last_boundary(now)``. A clock that stepped back makes nothing due a second time.
        """
        if last is None:
            return []
        grace = self.misfire_grace_time
        after = last if grace is None else max(last, now - grace)
        limit = self.max_catch_up if self.misfire == "all" else 1
        return self.schedule.boundaries(after, now, limit)
