"""What settings need to write ``VTASKS_SCHEDULE``. Safe to import there: no Django, no tasks.

VTASKS_SCHEDULE: dict[str, ScheduleEntry] = {
    "nightly-report": {"task": "shop.tasks.report", "schedule": crontab(hour=5, minute=0)},
    "cleanup": {"task": "shop.tasks.cleanup", "schedule": 3600, "misfire": "skip"},
}
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NotRequired, TypedDict

from vtasks_asgi.core.schedule import Crontab, ScheduleError, crontab
from vtasks_asgi.core.schedule.entry import Enabled, Misfire

__all__ = ["Crontab", "Misfire", "ScheduleEntry", "ScheduleError", "crontab"]


class ScheduleEntry(TypedDict):
    """One value of ``VTASKS_SCHEDULE``, for type checkers; a plain dict does as well.

    A number as ``schedule`` is a period in seconds, 1 or more; ``misfire_grace_time`` is in
    seconds, None for no limit; ``jitter`` is in seconds too. ``docs/scheduling.md`` has every key.
    """

    task: str
    schedule: Crontab | str | float | timedelta
    args: NotRequired[Sequence[Any]]
    kwargs: NotRequired[Mapping[str, Any]]
    queue_name: NotRequired[str]
    priority: NotRequired[int]
    timezone: NotRequired[str]
    misfire: NotRequired[Misfire]
    max_catch_up: NotRequired[int]
    misfire_grace_time: NotRequired[float | timedelta | None]
    unique: NotRequired[bool]
    unique_key: NotRequired[str]
    jitter: NotRequired[float | timedelta]
    enabled: NotRequired[Enabled]
