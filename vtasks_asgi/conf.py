"""Settings → frozen options, validated once. The only room that reads Django's settings.

Every ``VTASKS_*`` setting may also be given as an environment variable of the same name; the
Django setting wins. Options of one backend live in ``TASKS[alias]["OPTIONS"]``.
"""

import difflib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import orjson
from django.conf import settings
from django.core.signals import setting_changed

from vtasks_asgi.core.message import DEFAULT_QUEUE
from vtasks_asgi.core.retry import DEFAULT_MAX_RESCUES
from vtasks_asgi.exceptions import ConfigurationError

#: A queue's options: ``worker_concurrency`` gives it slots of its own instead of shared ones.
type Queues = Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its default, and how a raw value becomes a good one or a ValueError."""

    default: Any
    parse: Callable[[Any], Any]
    nullable: bool = False


def _whole(raw: Any, *, least: int) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int | str):
        raise ValueError(f"must be a whole number of at least {least}")
    try:
        number = int(raw)
    except ValueError:
        raise ValueError(f"must be a whole number of at least {least}") from None
    if number < least:
        raise ValueError(f"must be a whole number of at least {least}")
    return number


def _seconds(raw: Any, *, least: float) -> float:
    try:
        number = float(raw) if not isinstance(raw, bool) else -1.0
    except (TypeError, ValueError):
        number = -1.0
    if not least <= number < 1e9:
        raise ValueError(f"must be a number of seconds, at least {least:g}")
    return number


def _flag(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    words = {"1": True, "true": True, "yes": True, "on": True}
    words |= {"0": False, "false": False, "no": False, "off": False}
    try:
        return words[str(raw).strip().lower()]
    except KeyError:
        raise ValueError("must be True or False") from None


def _optional[T](parse: Callable[[Any], T], raw: Any) -> T | None:
    return None if raw is None or raw == "" else parse(raw)


def _text(raw: Any) -> str:
    if not isinstance(raw, str) or not raw:
        raise ValueError("must be a non-empty string")
    return raw


def _word(raw: Any, *, choices: tuple[str, ...]) -> str:
    word = {True: "on", False: "off"}.get(raw, raw) if isinstance(raw, bool) else raw
    if word not in choices:
        raise ValueError(f"must be one of {', '.join(choices)}")
    return str(word)


def _path(raw: Any) -> str:
    path = _text(raw)
    if not path.startswith("/") or (path != "/" and path.endswith("/")):
        raise ValueError("must start with a slash and not end with one, or be None")
    return path


def _names(raw: Any) -> tuple[str, ...]:
    if isinstance(raw, str):
        raw = [part.strip() for part in raw.split(",") if part.strip()]
    if not isinstance(raw, list | tuple | set) or not all(isinstance(n, str) and n for n in raw):
        raise ValueError("must be a list of names")
    return tuple(raw)


def _queues(raw: Any) -> Queues:
    if isinstance(raw, str) and raw.lstrip().startswith(("{", "[")):
        try:
            raw = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"is not valid JSON: {error}") from None
    if not isinstance(raw, dict):
        raw = {name: {} for name in _names(raw)}
    if not raw:
        raise ValueError("must name at least one queue")
    return {_queue_name(name): _queue_slots(name, options) for name, options in raw.items()}


def _queue_name(name: Any) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= 100:
        raise ValueError(f"has the queue name {name!r}; a name is a string of 1 to 100 characters")
    return name


def _queue_slots(name: str, options: Any) -> int | None:
    if not isinstance(options, dict):
        raise ValueError(f"[{name!r}] must be a dict such as {{'worker_concurrency': 5}}")
    for key in options:
        if key != "worker_concurrency":
            raise ValueError(f"[{name!r}] has the unknown option {key!r}; use worker_concurrency")
    slots = options.get("worker_concurrency")
    return None if slots is None else _whole(slots, least=1)


def _schedule(raw: Any) -> dict[str, Any]:
    if isinstance(raw, str):
        try:
            raw = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"is not valid JSON: {error}") from None
    if not isinstance(raw, dict):
        raise ValueError("must be a dict of schedule entries")
    return raw


SETTINGS: dict[str, Setting] = {
    "VTASKS_BACKEND": Setting("default", _text),
    "VTASKS_QUEUES": Setting([DEFAULT_QUEUE], _queues),
    "VTASKS_CONCURRENCY": Setting(20, partial(_whole, least=1)),
    "VTASKS_SCHEDULE": Setting({}, _schedule),
    "VTASKS_RUN_SCHEDULER": Setting(True, _flag),
    "VTASKS_DLQ_CAP": Setting(1000, partial(_whole, least=0)),
    "VTASKS_MAX_RESCUES": Setting(DEFAULT_MAX_RESCUES, partial(_whole, least=0)),
    "VTASKS_LEASE": Setting(30.0, partial(_seconds, least=1.0)),
    "VTASKS_DRAIN_TIMEOUT": Setting(20.0, partial(_seconds, least=0.0)),
    "VTASKS_EMBEDDED": Setting("auto", partial(_word, choices=("auto", "on", "off"))),
    "VTASKS_METRICS_PATH": Setting("/metrics", partial(_optional, _path), nullable=True),
    "VTASKS_HEALTH_PATH": Setting("/vtasks/health", partial(_optional, _path), nullable=True),
    "VTASKS_HEALTH_TOKEN": Setting(None, partial(_optional, _text), nullable=True),
    "VTASKS_METRICS_ADDRESS": Setting(None, partial(_optional, _text), nullable=True),
    "VTASKS_METRICS_PORT": Setting(
        None, partial(_optional, partial(_whole, least=1)), nullable=True
    ),
    "VTASKS_HEALTH_CHECK_FILE": Setting(None, partial(_optional, _text), nullable=True),
    "VTASKS_WORKER_ID": Setting(None, partial(_optional, _text), nullable=True),
    "VTASKS_IMPORTS": Setting([], _names),
    "VTASKS_TASK_CONTEXT": Setting(None, partial(_optional, _text), nullable=True),
    "VTASKS_PROPAGATE": Setting([], _names),
}

#: Names the ancestor package knows and this version does not act on yet.
LATER = frozenset(
    {
        "VTASKS_BATCH_QUEUES",
        "VTASKS_VALKEY_PREFIX",
        "VTASKS_SHUTDOWN_CANCEL_GRACE",
        "VTASKS_HEARTBEAT_INTERVAL",
        "VTASKS_RESCUE_INTERVAL",
    }
)


@dataclass(frozen=True, slots=True)
class Options:
    """All ``VTASKS_*`` settings, good values only. Times are in seconds."""

    backend: str
    queues: Queues
    concurrency: int
    schedule: Mapping[str, Any]
    run_scheduler: bool
    dlq_cap: int
    max_rescues: int
    lease: float
    drain_timeout: float
    embedded: str
    metrics_path: str | None
    health_path: str | None
    health_token: str | None
    metrics_address: str | None
    metrics_port: int | None
    health_check_file: str | None
    worker_id: str | None
    imports: tuple[str, ...]
    task_context: str | None
    propagate: tuple[str, ...]


_UNSET = object()


@cache
def options() -> Options:
    """The options in force.

    Raises:
        ConfigurationError: naming every wrong setting and the fix.
    """
    values, problems = _read()
    if problems:
        raise ConfigurationError(*problems)
    return Options(**{_field(name): value for name, value in values.items()})


def problems() -> Iterator[str]:
    """What is wrong with the settings, a sentence each; for system checks."""
    yield from _read()[1]


def not_yet() -> Iterator[str]:
    """Settings of the ancestor package that are set and that this version ignores."""
    yield from sorted(name for name in LATER if hasattr(settings, name))


@cache
def use_tz() -> bool:
    """Whether the project's datetimes are aware."""
    return bool(settings.USE_TZ)


def time_zone() -> str:
    """The project's time zone, in which schedules are read unless they name their own."""
    return str(settings.TIME_ZONE or "UTC")


def debug() -> bool:
    """Whether the project runs with DEBUG."""
    return bool(settings.DEBUG)


def _field(name: str) -> str:
    return name.removeprefix("VTASKS_").lower()


def _read() -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, setting in SETTINGS.items():
        raw = getattr(settings, name, _UNSET)
        if raw is _UNSET or (raw is None and not setting.nullable):
            raw = os.environ.get(name, setting.default)
        try:
            values[name] = setting.parse(raw)
        except ValueError as error:
            problems.append(f"{name} {error}")
    for name in dir(settings):
        if name.startswith("VTASKS_") and name not in SETTINGS and name not in LATER:
            near = difflib.get_close_matches(name, SETTINGS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            if name != "VTASKS_IS_WORKER":
                problems.append(f"{name} is not a setting of vtasks_asgi{hint}")
    return values, problems


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting.startswith("VTASKS_"):
        options.cache_clear()
    elif setting == "USE_TZ":
        use_tz.cache_clear()


setting_changed.connect(_forget, dispatch_uid="vtasks_asgi.conf")
