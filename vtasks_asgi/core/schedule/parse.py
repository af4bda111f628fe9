"""From the raw dict in settings to an ``Entry``, with every problem told at once."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from vtasks_asgi.core.envelope import check_json
from vtasks_asgi.core.message import MAX_PRIORITY, MIN_PRIORITY
from vtasks_asgi.core.schedule.base import Schedule
from vtasks_asgi.core.schedule.cron import Cron, load_zone
from vtasks_asgi.core.schedule.crontab import Crontab
from vtasks_asgi.core.schedule.entry import SKIP_GRACE, Entry
from vtasks_asgi.core.schedule.every import Every

MAX_NAME_LENGTH = 128
MAX_CATCH_UP = 1000
MAX_JITTER = 86400
MISFIRES = ("latest", "skip", "all")


class ScheduleError(ValueError):
    """A schedule entry is wrong. ``problems`` are complete sentences, one each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def parse_entry(name: str, raw: Mapping[str, Any], *, default_zone: str = "UTC") -> Entry:
    """Read one entry; ``default_zone`` is the IANA zone of cron schedules that name none.

    Raises:
        ScheduleError: each problem names the entry, the key, and the fix.
    """
    where = f"VTASKS_SCHEDULE[{name!r:.60}]"
    if problem := _name_problem(name):
        raise ScheduleError([f"{where}: {problem}"])
    if not isinstance(raw, Mapping):
        raise ScheduleError(
            [f"{where} is a {_kind(raw)}; write a dict such as {{'task': ..., 'schedule': ...}}"]
        )
    values: dict[str, Any] = {}
    problems = [f"{where}{_unknown_key(key)}" for key in raw if key not in _READERS]
    problems += [
        f"{where}[{key!r}] is missing; add {fix}"
        for key, fix in _REQUIRED.items()
        if key not in raw
    ]
    for key in _READERS.keys() & raw.keys():
        try:
            values[key] = _READERS[key](raw[key])
        except (TypeError, ValueError) as error:
            problems.append(f"{where}[{key!r}]: {error}")
    problems += [f"{where}{problem}" for problem in _contradictions(raw, values)]
    if problems:
        raise ScheduleError(sorted(problems))
    values["schedule"] = _in_zone(values["schedule"], values.pop("timezone", default_zone))
    if values.get("misfire") == "skip":
        values.setdefault("misfire_grace_time", SKIP_GRACE)
    return Entry(name=name, **values)


def _name_problem(name: object) -> str | None:
    if not isinstance(name, str):
        return "the name of an entry is a string"
    if not (0 < len(name) <= MAX_NAME_LENGTH and name.isprintable()):
        return f"a name has 1 to {MAX_NAME_LENGTH} printable characters; rename the entry"
    return None


def _unknown_key(key: object) -> str:
    near = get_close_matches(str(key), _READERS, n=1)
    fix = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(_READERS)}"
    return f"[{key!r:.60}] is not a key of a schedule entry; {fix}"


def _contradictions(raw: Mapping[str, Any], values: dict[str, Any]) -> list[str]:
    """Keys that would have no effect beside the others."""
    found = []
    if "timezone" in raw and isinstance(values.get("schedule"), Every):
        found.append("['timezone'] has no effect on a period; remove it, or use crontab(...)")
    if "max_catch_up" in raw and raw.get("misfire") != "all":
        found.append("['max_catch_up'] has no effect; remove it, or add 'misfire': 'all'")
    if raw.get("misfire") == "skip" and values.get("misfire_grace_time", 0) is None:
        found.append("['misfire_grace_time'] None skips nothing; use seconds, or drop 'misfire'")
    if isinstance(schedule := values.get("schedule"), Every):
        if values.get("jitter", 0) >= schedule.seconds:
            found.append("['jitter'] reaches beyond the next tick; use less than the period")
    if "unique_key" in raw and values.get("unique") is False:
        found.append("['unique_key'] has no effect; remove it, or write 'unique': True")
    return found


def _in_zone(schedule: Schedule | Crontab, zone: str) -> Schedule:
    return Cron(schedule.expression, zone) if isinstance(schedule, Crontab) else schedule


def _kind(value: object) -> str:
    return type(value).__name__


# One reader a key: the checked value, or a ValueError or TypeError that says what to write.


def _task(value: Any) -> str:
    if isinstance(value, str):
        parts = value.split(".")
        if len(parts) > 1 and all(part.isidentifier() for part in parts):
            return value
        raise ValueError(f"{value!r:.60} is no dotted path; write one such as 'shop.tasks.report'")
    raise ValueError(f"is a {_kind(value)}; write the task's dotted path, as a string")


def _schedule(value: Any) -> Every | Crontab:
    if isinstance(value, Crontab):
        return value
    if isinstance(value, str):
        if value.strip().isdigit():
            raise ValueError(f"{value!r:.60} is text; for a period in seconds drop the quotes")
        return Crontab(value)
    if isinstance(value, timedelta):
        return Every(value.total_seconds())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Every(value)
    raise ValueError(
        f"is a {_kind(value)}; use crontab(...) of vtasks_asgi.scheduler, a cron string, a number"
        " of seconds or a timedelta"
    )


def _args(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"is a {_kind(value)}; write a list, such as ['daily', 7]")
    check_json(list(value), "args")
    return tuple(value)


def _kwargs(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"is a {_kind(value)}; write a dict, such as {{'days': 7}}")
    check_json(dict(value), "kwargs")
    return dict(value)


def _queue_name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r:.60} is no queue; write the name of one, as a string")
    return value


def _priority(value: Any) -> int:
    return _integer(value, MIN_PRIORITY, MAX_PRIORITY)


def _timezone(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is a {_kind(value)}; write an IANA name such as 'Europe/Berlin'")
    return load_zone(value).key


def _misfire(value: Any) -> str:
    if value not in MISFIRES:
        raise ValueError(f"{value!r:.60} is no policy; use 'latest', 'skip' or 'all'")
    return str(value)


def _max_catch_up(value: Any) -> int:
    return _integer(value, 1, MAX_CATCH_UP)


def _misfire_grace_time(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    # No upper bound but the float's own: ten years of grace are as good as no limit.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e10:
        raise ValueError(f"{value!r:.60} is no age; use seconds above 0, or None for no limit")
    return float(value)


def _unique(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r:.60} is no answer; use True or False")
    return value


def _unique_key(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r:.60} is no key; use a text")
    return value


def _jitter(value: Any) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"is a {_kind(value)}; use a number of seconds or a timedelta")
    if not 0 <= value <= MAX_JITTER:  # NaN fails this too
        raise ValueError(f"{value!r:.60} is out of range; use 0 to {MAX_JITTER} seconds (a day)")
    return float(value)


def _enabled(value: Any) -> Any:
    if isinstance(value, bool) or (callable(value) and not isinstance(value, type)):
        return value
    if isinstance(value, str) and "." in value:
        if all(part.isidentifier() for part in value.split(".")):
            return value
    raise ValueError(
        f"{value!r:.60} is no switch; use True or False, or a function that returns one of them, or"
        " its dotted path"
    )


def _integer(value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{value!r:.60} is out of range; use a whole number, {low} to {high}")
    return value


_READERS: dict[str, Callable[[Any], Any]] = {
    "task": _task,
    "schedule": _schedule,
    "args": _args,
    "kwargs": _kwargs,
    "queue_name": _queue_name,
    "priority": _priority,
    "timezone": _timezone,
    "misfire": _misfire,
    "max_catch_up": _max_catch_up,
    "misfire_grace_time": _misfire_grace_time,
    "unique": _unique,
    "unique_key": _unique_key,
    "jitter": _jitter,
    "enabled": _enabled,
}
_REQUIRED = {
    "task": "the dotted path of a task, such as 'shop.tasks.report'",
    "schedule": "crontab(...), a cron string, a number of seconds or a timedelta",
}
