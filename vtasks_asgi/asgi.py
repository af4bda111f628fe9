"""The wrapper: a runtime inside the web server's own event loop.

    application = get_worker_application(get_asgi_application())

Lifespan starts and stops the runtime; the metrics and health paths are answered here; everything
else goes straight to the application. Nothing the runtime does may fail a request.
"""

import os
import sys
from collections.abc import Sequence

from vtasks_asgi import granian_stop
from vtasks_asgi.assembly import assemble, find_backend, listen
from vtasks_asgi.conf import debug, options
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.host import Host
from vtasks_asgi.lifespan import ASGIApp, Receive, Scope, Send
from vtasks_asgi.observe.endpoints import Endpoints
from vtasks_asgi.runtime.active import current

#: "auto", "on" or "off".
type Embedded = str | bool


def get_worker_application(
    application: ASGIApp,
    *,
    backend: str | None = None,
    queues: Sequence[str] | None = None,
    scheduler: bool | None = None,
    embedded: Embedded | None = None,
    metrics_path: str | None = "",
    health_path: str | None = "",
) -> ASGIApp:
    """Wrap an ASGI application so that its server also runs the task worker.

    Args:
        backend: alias in TASKS; default ``VTASKS_BACKEND``.
        queues: names to consume; default all of ``VTASKS_QUEUES``.
        scheduler: fire ``VTASKS_SCHEDULE`` from here; default ``VTASKS_RUN_SCHEDULER``.
        embedded: "on", "off" (endpoints only) or "auto": on, but never in a management command;
            default ``VTASKS_EMBEDDED``.
        metrics_path: default ``VTASKS_METRICS_PATH``, None to serve none.
        health_path: default ``VTASKS_HEALTH_PATH``, None to serve none.

    Raises:
        ConfigurationError: naming the wrong setting or argument and the fix.
    """
    granian_stop.mend()
    settings = options()
    find_backend(backend or settings.backend)
    listen(settings)
    host = Host(
        application,
        make_runtime=lambda: assemble(backend=backend, queues=queues, scheduler=scheduler),
        embedded=_embedded(settings.embedded if embedded is None else embedded),
        drain_timeout=settings.drain_timeout,
    )
    try:
        endpoints = Endpoints(
            host.health,
            metrics_path=settings.metrics_path if metrics_path == "" else metrics_path,
            health_path=settings.health_path if health_path == "" else health_path,
            token=settings.health_token,
            debug=debug(),
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    return _application(application, host, endpoints)


def _application(app: ASGIApp, host: Host, endpoints: Endpoints) -> ASGIApp:
    own, match, activate = endpoints.own, endpoints.match, current.set

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            endpoints.mount(scope.get("root_path", ""))
            return await host.lifespan(scope, receive, send)
        if kind == "http":
            if not host.seen:
                endpoints.mount(scope.get("root_path", ""))
                host.first_request()
            if scope["path"] in own and (handler := match(scope)) is not None:
                return await handler(scope, receive, send)
            if host.runtime is not None:
                host.runtime.traffic.note()
        activate(host.runtime)
        return await app(scope, receive, send)

    return application


def _embedded(choice: Embedded) -> bool:
    if choice not in ("auto", "on", "off", True, False):
        raise ConfigurationError(f"embedded is {choice!r}; it must be 'auto', 'on' or 'off'")
    if choice == "auto":
        return not in_management_command()
    return choice in ("on", True)


def in_management_command() -> bool:
    """Was this process started as ``manage.py`` or ``django-admin``?"""
    program = os.path.basename(sys.argv[0]) if sys.argv else ""
    as_module = program == "__main__.py" and "django" in os.path.dirname(sys.argv[0])
    return as_module or program in ("manage.py", "django-admin", "django-admin.exe")
