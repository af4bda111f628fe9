"""System checks: everything a start would refuse, found before it; see docs/checks.md."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.tasks import task_backends
from django.urls import Resolver404, resolve

from vtasks_asgi import conf, propagation, registry
from vtasks_asgi.assembly import batch_problems, schedule_entries
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.backends.database import DatabaseTaskBackend
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.observe.pages import Pages
from vtasks_asgi.runtime.health import Health, Status


@checks.register
def check_settings(**kwargs: Any) -> Iterator[checks.CheckMessage]:
    """E001 a setting is wrong; W001 a setting of the ancestor package is not acted on yet."""
    for problem in conf.problems():
        yield checks.Error(problem, id="vtasks_asgi.E001")
    if not any(conf.problems()):
        settings = conf.options()
        try:
            Pages(
                lambda: Health(Status.STOPPED),
                metrics_path=settings.metrics_path,
                health_path=settings.health_path,
                token=settings.health_token,
            )
        except ValueError as error:
            yield checks.Error(str(error), id="vtasks_asgi.E001")
    for name in conf.not_yet():
        yield checks.Warning(
            f"{name} has no effect in this version of vtasks_asgi.", id="vtasks_asgi.W001"
        )


@checks.register
def check_backends(**kwargs: Any) -> Iterator[checks.CheckMessage]:
    """E001 a setting that names code, E002 the schedule, E005 the backend, E006 a task is wrong."""
    if any(conf.problems()):
        return  # E001 says why
    try:
        backend = task_backends[conf.options().backend]
    except ImproperlyConfigured as error:
        yield checks.Error(str(error), id="vtasks_asgi.E005")
        return
    if not isinstance(backend, VTasksBackend):
        return  # another package's backend, or Django's for tests: not ours to judge
    for queue in conf.options().queues:
        if backend.queues and queue not in backend.queues:
            yield checks.Error(
                f"VTASKS_QUEUES names {queue!r}, which TASKS[{backend.alias!r}]['QUEUES'] lacks.",
                hint="Add it there, or leave QUEUES out to use VTASKS_QUEUES for both.",
                id="vtasks_asgi.E005",
            )
    yield from _check_code(backend)


def _check_code(backend: VTasksBackend) -> Iterator[checks.CheckMessage]:
    try:
        registry.discover()
        propagation.hook()
        propagation.variables()
    except ConfigurationError as error:
        yield checks.Error(str(error), id="vtasks_asgi.E001")
        return
    for problem in registry.problems():
        yield checks.Error(problem, id="vtasks_asgi.E006")
    for problem in batch_problems():
        yield checks.Error(problem, id="vtasks_asgi.E001")
    try:
        schedule_entries(backend)
    except ConfigurationError as error:
        for problem in error.args:
            yield checks.Error(problem, id="vtasks_asgi.E002")


@checks.register(checks.Tags.database)
def check_servers(databases: Sequence[str] | None, **kwargs: Any) -> Iterator[checks.CheckMessage]:
    """E004 a database server is too old. Django asks this where it may connect: in migrate."""
    for backend in task_backends.all():
        if isinstance(backend, DatabaseTaskBackend):
            yield from backend.check_server(databases or ())


@checks.register(checks.Tags.urls)
def check_paths(**kwargs: Any) -> Iterator[checks.CheckMessage]:
    """W002 the wrapper's paths hide a route of the project."""
    if any(conf.problems()):
        return
    settings = conf.options()
    health = settings.health_path
    paths = {"VTASKS_METRICS_PATH": [settings.metrics_path]}
    paths["VTASKS_HEALTH_PATH"] = [health, f"{health}/live", f"{health}/ready"] if health else []
    anything = _route(f"/{uuid4().hex}/{uuid4().hex}")
    for setting, own in paths.items():
        for path in filter(None, own):
            route = _route(path)
            if route is not None and route != anything:
                yield checks.Warning(
                    f"{path} is answered by vtasks_asgi before the project's route {route!r}.",
                    hint=f"Set {setting} to another path, or to None.",
                    id="vtasks_asgi.W002",
                )


def _route(path: str) -> str | None:
    try:
        return resolve(path).route
    except (Resolver404, ImproperlyConfigured, AttributeError):
        return None  # also a project without ROOT_URLCONF
