"""Settings → frozen options, validated once. The only room that reads Django's settings.

Every ``VTASKS_*`` setting may also be given as an environment variable of the same name; the
Django setting wins. Options of one backend live in ``TASKS[alias]["OPTIONS"]``. Settings may import
``prune_installed_apps`` from here: nothing is read before it is asked for.
"""

import difflib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed

from vtasks_asgi import parsing
from vtasks_asgi.core.batch import Batch
from vtasks_asgi.core.message import DEFAULT_QUEUE
from vtasks_asgi.core.retry import DEFAULT_MAX_RESCUES
from vtasks_asgi.exceptions import ConfigurationError

#: ``worker_concurrency`` gives a queue slots of its own instead of shared ones.
type Queues = Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its default, and how a raw value becomes a good one or a ValueError."""

    default: Any
    parse: Callable[[Any], Any]
    nullable: bool = False


SETTINGS: dict[str, Setting] = {
    "VTASKS_BACKEND": Setting("default", parsing.text),
    "VTASKS_QUEUES": Setting([DEFAULT_QUEUE], parsing.queues),
    "VTASKS_BATCH_QUEUES": Setting({}, parsing.batches),
    "VTASKS_CONCURRENCY": Setting(20, partial(parsing.whole, least=1)),
    "VTASKS_SCHEDULE": Setting({}, parsing.schedule),
    "VTASKS_RUN_SCHEDULER": Setting(True, parsing.flag),
    "VTASKS_DLQ_CAP": Setting(1000, partial(parsing.whole, least=0)),
    "VTASKS_MAX_RESCUES": Setting(DEFAULT_MAX_RESCUES, partial(parsing.whole, least=0)),
    "VTASKS_LEASE": Setting(30.0, partial(parsing.seconds, least=1.0)),
    "VTASKS_DRAIN_TIMEOUT": Setting(20.0, partial(parsing.seconds, least=0.0)),
    "VTASKS_EMBEDDED": Setting("auto", partial(parsing.word, choices=("auto", "on", "off"))),
    "VTASKS_METRICS_PATH": Setting(
        "/metrics", partial(parsing.optional, parsing.path), nullable=True
    ),
    "VTASKS_HEALTH_PATH": Setting(
        "/vtasks/health", partial(parsing.optional, parsing.path), nullable=True
    ),
    "VTASKS_HEALTH_TOKEN": Setting(None, partial(parsing.optional, parsing.text), nullable=True),
    "VTASKS_METRICS_ADDRESS": Setting(None, partial(parsing.optional, parsing.text), nullable=True),
    "VTASKS_METRICS_PORT": Setting(
        None, partial(parsing.optional, partial(parsing.whole, least=1)), nullable=True
    ),
    "VTASKS_HEALTH_CHECK_FILE": Setting(
        None, partial(parsing.optional, parsing.text), nullable=True
    ),
    "VTASKS_WORKER_ID": Setting(None, partial(parsing.optional, parsing.text), nullable=True),
    "VTASKS_IMPORTS": Setting([], parsing.names),
    "VTASKS_TASK_CONTEXT": Setting(None, partial(parsing.optional, parsing.text), nullable=True),
    "VTASKS_PROPAGATE": Setting([], parsing.names),
    "VTASKS_VALKEY_PREFIX": Setting("vt", parsing.prefix),
}

#: Names the ancestor package knows and this version does not act on yet.
LATER = frozenset(
    {
        "VTASKS_SHUTDOWN_CANCEL_GRACE",
        "VTASKS_HEARTBEAT_INTERVAL",
        "VTASKS_RESCUE_INTERVAL",
    }
)


@dataclass(frozen=True, slots=True)
class Options:
    """All ``VTASKS_*`` settings, good values only. Times are in seconds.

    ``queues`` are all there are, ``batch_queues`` among them, wherever a setting has named them.
    """

    backend: str
    queues: Queues
    batch_queues: Mapping[str, Batch]
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
    valkey_prefix: str


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


#: Apps that serve requests and hold nothing a task works with; each also by its AppConfig.
WEB_ONLY = (
    "django.contrib.admin",
    "django.contrib.admindocs",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.sitemaps",
    "django.contrib.staticfiles",
    "django.contrib.syndication",
    # Looks of the admin, which need it.
    "admin_interface",
    "grappelli",
    "jazzmin",
    "unfold",
    # Tools of web servers and of developers.
    "corsheaders",
    "daphne",
    "debug_toolbar",
    "django_browser_reload",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "drf_yasg",
    "whitenoise.runserver_nostatic",
)


def prune_installed_apps(installed_apps: Iterable[str], *, keep: Collection[str] = ()) -> list[str]:
    """``INSTALLED_APPS`` less what only a web server needs, in the same order; for settings.

    It goes by names: those of ``WEB_ONLY`` that are not to ``keep``. Every other app stays, for its
    models, tasks or template tags may be used; so do ``auth`` and ``contenttypes``.
    """
    gone = [name for name in WEB_ONLY if name not in keep]
    return [
        app
        for app in installed_apps
        if app in keep or not any(app == name or app.startswith(f"{name}.") for name in gone)
    ]


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


def cache_settings(alias: str) -> Mapping[str, Any] | None:
    """What CACHES says of an alias, None when it does not."""
    found: Mapping[str, Any] | None = settings.CACHES.get(alias)
    return found


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
    if "VTASKS_QUEUES" in values and "VTASKS_BATCH_QUEUES" in values:
        problems.extend(_join_queues(values))
    for name in dir(settings):
        if name.startswith("VTASKS_") and name not in SETTINGS and name not in LATER:
            near = difflib.get_close_matches(name, SETTINGS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            if name != "VTASKS_IS_WORKER":
                problems.append(f"{name} is not a setting of vtasks_asgi{hint}")
    return values, problems


def _join_queues(values: dict[str, Any]) -> Iterator[str]:
    """Either setting may say that a queue is gathered in batches, but not both."""
    queues: dict[str, parsing.Queue] = values["VTASKS_QUEUES"]
    batches: dict[str, Batch] = values["VTASKS_BATCH_QUEUES"]
    for name, queue in queues.items():
        if queue.batch is not None:
            if name in batches:
                yield f"VTASKS_QUEUES[{name!r}]['batch'] is in VTASKS_BATCH_QUEUES too; keep one"
            batches[name] = queue.batch
    slots = {name: queue.slots for name, queue in queues.items()}
    values["VTASKS_QUEUES"] = slots | {name: None for name in batches if name not in slots}


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting.startswith("VTASKS_"):
        options.cache_clear()
    elif setting == "USE_TZ":
        use_tz.cache_clear()


setting_changed.connect(_forget, dispatch_uid="vtasks_asgi.conf")
