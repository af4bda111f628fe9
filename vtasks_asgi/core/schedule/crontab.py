"""Cron expressions as values: five fields, checked once, with errors that name the field.

The syntax and its evaluation are cronsim's (Debian cron's, plus ``L``, ``LW`` and ``#``).
"""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime

from cronsim import CronSim, CronSimError

MAX_LENGTH = 512

#: The fields in a cron expression's order: the highest number, and what to write.
_FIELDS = {
    "minute": (59, "0-59"),
    "hour": (23, "0-23"),
    "day_of_month": (31, "1-31, L (last day) or LW (last weekday)"),
    "month_of_year": (12, "1-12 or JAN-DEC"),
    "day_of_week": (7, "0-7 or SUN-SAT, 5L (last Friday) or 1#2 (second Monday)"),
}
_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ANY_DAY = datetime(2000, 1, 1)


@dataclass(frozen=True, slots=True)
class Crontab:
    """A checked cron expression that has no time zone yet; see ``crontab``.

    Raises:
        ValueError: the expression is malformed, or no date ever matches it.
    """

    expression: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "expression", check_expression(self.expression))


def crontab(
    minute: int | str = "*",
    hour: int | str = "*",
    day_of_week: int | str = "*",
    day_of_month: int | str = "*",
    month_of_year: int | str = "*",
) -> Crontab:
    """A schedule from the fields of a cron expression, each a number or cron's text for it.

    The argument order is Celery's. ``crontab()`` is every minute, ``crontab(0, 5)`` daily at five,
    ``crontab("*/15", "9-17", "MON-FRI")`` every quarter of an hour in office hours. When both
    ``day_of_week`` and ``day_of_month`` are restricted, a day that matches either will do, as in
    Debian's cron; Celery wants both.

    Raises:
        ValueError: naming the field.
    """
    given: dict[str, object] = {
        "minute": minute,
        "hour": hour,
        "day_of_month": day_of_month,
        "month_of_year": month_of_year,
        "day_of_week": day_of_week,
    }
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | str):
            kind = type(value).__name__
            raise ValueError(f"{name} is a {kind}; use a number, or text such as '1,15'")
        if str(value).split() != [str(value)]:
            raise ValueError(f"{name} {value!r:.60} is empty or has spaces; use {_hint(name)}")
    return Crontab(" ".join(str(value) for value in given.values()))


def check_expression(expression: str) -> str:
    """The five fields, single-spaced; ``@daily`` and its like are written out.

    Raises:
        ValueError: naming every field that is wrong.
    """
    if len(expression) > MAX_LENGTH:
        raise ValueError(
            f"a cron expression of {len(expression)} characters is over the limit of {MAX_LENGTH};"
            " use ranges and steps, or several entries"
        )
    parts = _ALIASES.get(expression.strip().lower(), expression).split()
    if len(parts) != len(_FIELDS):
        raise ValueError(
            f"{expression!r:.60} has {len(parts)} fields, a cron expression has five:"
            " minute hour day_of_month month_of_year day_of_week, such as '0 5 * * MON-FRI'"
        )
    wrong = [name for name, part in zip(_FIELDS, parts, strict=True) if not _is_valid(name, part)]
    if wrong:
        told = dict(zip(_FIELDS, parts, strict=True))
        raise ValueError(
            "; ".join(f"{n} {told[n]!r:.60} is not valid, use {_hint(n)}" for n in wrong)
        )
    if not _matches_some_day(parts):
        raise ValueError(
            f"no date ever matches day_of_month {parts[2]!r:.60} with month_of_year"
            f" {parts[3]!r:.60} and day_of_week {parts[4]!r:.60}; widen one of them"
        )
    return " ".join(parts)


def _hint(name: str) -> str:
    return f"{_FIELDS[name][1]}, with * , - and / as in cron"


def _is_valid(name: str, part: str) -> bool:
    alone = " ".join(part if each == name else "*" for each in _FIELDS)
    try:
        CronSim(alone, _ANY_DAY)
    except CronSimError:
        return False
    # Accepted too, but surely meant otherwise: "*/90" (is hourly) and "5-5/10" (is "5/10").
    too_far = any(int(step) > _FIELDS[name][0] for step in re.findall(r"/([0-9]+)", part))
    return not too_far and not re.search(r"\b(\w+)-\1/", part)


def _matches_some_day(parts: list[str]) -> bool:
    """Whether one day of the calendar matches, tried on one month of every shape there is.

    A month's shape is its first weekday and its length; 28 years hold them all. cronsim alone
    would give up only after 50 years of days, for every look at the clock.
    """
    try:
        rule = CronSim(" ".join(parts), _ANY_DAY)
    except CronSimError:  # the fields are valid one by one: it saw a day no month has
        return False
    shapes = {
        monthrange(year, month): (year, month)
        for year in range(2000, 2028)
        for month in sorted(rule.months)
    }
    return any(
        rule.match_day(date(year, month, day))
        for (_, length), (year, month) in shapes.items()
        for day in range(1, length + 1)
    )
