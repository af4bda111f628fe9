"""Schedule mathematics: when an entry of ``VTASKS_SCHEDULE`` ticks. Pure; time is an argument."""

from vtasks_asgi.core.schedule.base import Schedule
from vtasks_asgi.core.schedule.cron import Cron
from vtasks_asgi.core.schedule.crontab import Crontab, crontab
from vtasks_asgi.core.schedule.entry import Entry
from vtasks_asgi.core.schedule.every import Every
from vtasks_asgi.core.schedule.parse import ScheduleError, parse_entry

__all__ = [
    "Cron",
    "Crontab",
    "Entry",
    "Every",
    "Schedule",
    "ScheduleError",
    "crontab",
    "parse_entry",
]
