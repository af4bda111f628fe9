"""OpenTelemetry: a span for each enqueue and each run, the trace carried from one to the other.

Only where the project has set up a tracer provider. Nothing is imported to find out: what is in use
has been imported by somebody else, and looking for it costs a dictionary lookup.
"""

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

_LIBRARY = "vtasks_asgi"
#: Imported wherever somebody traces.
MODULE = "opentelemetry.trace"


def in_use() -> bool:
    """Does anybody trace?"""
    return MODULE in sys.modules and tracer() is not None


def tracer() -> Any | None:
    """The tracer to use, None where nobody traces."""
    trace = sys.modules.get(MODULE)
    if trace is None:
        return None
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        return None
    if _made[0] is not provider:
        _made[:] = provider, provider.get_tracer(_LIBRARY)
    return _made[1]


#: The last provider seen, and our tracer of it.
_made: list[Any] = [None, None]


def sent(tracer: Any, *, task: str, queue: str, id: str) -> dict[str, str]:
    """Tell of an enqueue; what its run has to know of the trace, as headers (W3C by default)."""
    carrier: dict[str, str] = {}
    with tracer.start_as_current_span(
        f"enqueue {task}",
        kind=_trace().SpanKind.PRODUCER,
        attributes=_attributes("send", task, queue, id),
    ):
        _propagate().inject(carrier)
    return carrier


def running(
    tracer: Any, carrier: Any, *, task: str, queue: str, id: str, attempt: int
) -> AbstractContextManager[Any]:
    """The span of a run, in the trace of its enqueue if that told of one."""
    given = carrier.items() if isinstance(carrier, Mapping) else ()  # by whom, nobody knows
    parent = _propagate().extract({key: value for key, value in given if isinstance(value, str)})
    attributes = _attributes("process", task, queue, id) | {"vtasks.attempt": attempt}
    span: AbstractContextManager[Any] = tracer.start_as_current_span(
        f"run {task}",
        context=parent,
        kind=_trace().SpanKind.CONSUMER,
        attributes=attributes,
    )
    return span


def _attributes(operation: str, task: str, queue: str, id: str) -> dict[str, Any]:
    """Named by OpenTelemetry's conventions for messaging, where these have a name."""
    return {
        "messaging.system": _LIBRARY,
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
        "messaging.message.id": id,
        "vtasks.task": task,
    }


def _trace() -> Any:
    return sys.modules[MODULE]


def _propagate() -> Any:
    return import_module("opentelemetry.propagate")  # there, for its neighbour is
