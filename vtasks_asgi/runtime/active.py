"""Which runtime a piece of code runs in: a context variable, set per request and per task.

Seen by async views, by sync views in their thread, and by what they call.
"""

from contextvars import ContextVar
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from vtasks_asgi.runtime.runtime import Runtime

current: ContextVar[Optional["Runtime"]] = ContextVar("vtasks_runtime", default=None)


def runtime_of(alias: str) -> Optional["Runtime"]:
    """The open runtime of a backend's alias in this context, if there is one."""
    runtime = current.get()
    if runtime is None or runtime.alias != alias or not runtime.is_open:
        return None
    return runtime
