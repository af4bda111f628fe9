"""What goes with a call beside its arguments, and what each run happens within.

``Call.meta`` has three keys: ``data``, given by ``using(metadata=...)``; ``vars``, the context
variables of ``VTASKS_PROPAGATE``; ``trace``, OpenTelemetry's headers. A worker sets the variables
that its own settings name and no others: nothing is imported because a message names it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from contextvars import ContextVar
from functools import cache
from typing import Any

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from vtasks_asgi import tracing
from vtasks_asgi.conf import options
from vtasks_asgi.core.envelope import check_json
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.run import Run

#: Of ``VTASKS_TASK_CONTEXT``: called with keywords, for each run.
type Hook = Callable[..., AbstractContextManager[Any]]


def outgoing(task: Any, name: str, queue: str, id: str) -> dict[str, Any]:
    """The ``meta`` of a call that is about to be enqueued.

    Raises:
        TypeError, ValueError: a context variable holds what JSON cannot carry.
    """
    meta: dict[str, Any] = {}
    data = getattr(task, "metadata", None)
    if data is None and not variables() and not tracing.in_use():
        return meta
    if data:
        meta["data"] = data
    if values := _values():
        meta["vars"] = values
    tracer = tracing.tracer()
    if tracer is not None:
        meta["trace"] = tracing.sent(tracer, task=name, queue=queue, id=id)
    return meta


def _values() -> dict[str, Any]:
    values = {}
    for path, variable in variables():
        value = variable.get(_UNSET)
        if value is not _UNSET:
            check_json(value, f"the context variable {path} (VTASKS_PROPAGATE)")
            values[path] = value
    return values


_UNSET = object()


@cache
def variables() -> tuple[tuple[str, ContextVar[Any]], ...]:
    """Those of ``VTASKS_PROPAGATE``, each with its dotted path.

    Raises:
        ConfigurationError: one does not exist, or is no context variable.
    """
    found = [(path, _imported("VTASKS_PROPAGATE", path)) for path in options().propagate]
    for path, variable in found:
        if not isinstance(variable, ContextVar):
            raise ConfigurationError(f"VTASKS_PROPAGATE names {path!r}, which is no ContextVar")
    return tuple(found)


def hook() -> Hook | None:
    """That of ``VTASKS_TASK_CONTEXT``.

    Raises:
        ConfigurationError: it does not exist, or cannot be called.
    """
    path = options().task_context
    if path is None:
        return None
    found = _imported("VTASKS_TASK_CONTEXT", path)
    if not callable(found):
        raise ConfigurationError(f"VTASKS_TASK_CONTEXT names {path!r}, which cannot be called")
    return found  # type: ignore[no-any-return]


def _imported(setting: str, path: str) -> Any:
    try:
        return import_string(path)
    except ImportError as error:
        raise ConfigurationError(f"{setting} names {path!r}: {error}") from error


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting.startswith("VTASKS_"):
        variables.cache_clear()


setting_changed.connect(_forget, dispatch_uid="vtasks_asgi.propagation")


def enter(stack: ExitStack, run: Run, hook: Hook | None) -> None:
    """Enter what this run happens within, outermost first: variables, span, hook."""
    claim, meta = run.claim, run.call.meta
    carried = meta.get("vars")
    if type(carried) is dict:
        for path, variable in variables():
            if path in carried:
                variable.set(carried[path])
    tracer = tracing.tracer()
    if tracer is not None:
        span = tracing.running(
            tracer,
            meta.get("trace"),
            task=run.known.name,
            queue=claim.queue,
            id=claim.id,
            attempt=claim.attempt,
        )
        stack.enter_context(span)
    if hook is not None:
        surroundings = hook(
            task_id=claim.id,
            task_ids=None,
            name=run.known.name,
            queue=claim.queue,
            attempt=claim.attempt,
            metadata=run.metadata,
        )
        stack.enter_context(surroundings)
