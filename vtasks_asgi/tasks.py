"""``@task`` and ``VTask``: Django's task, with our options and the function's own signature."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

from django.core.signals import setting_changed
from django.tasks import (
    DEFAULT_TASK_BACKEND_ALIAS,
    DEFAULT_TASK_QUEUE_NAME,
    Task,
    task_backends,
)
from django.tasks.base import DEFAULT_TASK_PRIORITY
from django.tasks.exceptions import InvalidTask

from vtasks_asgi import registry, task_options
from vtasks_asgi.context import VTaskContext
from vtasks_asgi.core.retry import (
    DEFAULT_BACKOFF,
    DEFAULT_MAX_ATTEMPTS,
    DEFAULT_MAX_RESCUES,
    Backoff,
    Kinds,
    RetryPolicy,
    Waits,
)
from vtasks_asgi.task_result import VTaskResult

P = ParamSpec("P")
R = TypeVar("R")


if TYPE_CHECKING:

    class _Task(Task[P, R]): ...

else:

    class _Task(Task):
        """Django's Task is generic for type checkers only; this makes ``VTask[P, R]`` legal."""

        __slots__ = ()

        def __class_getitem__(cls, item):
            return cls


@dataclass(frozen=True, slots=True, kw_only=True)
class VTask(_Task[P, R]):
    """A Django task with options of ours.

    Args:
        max_attempts: runs at most so often before it is dead-lettered; default 3.
        backoff: waits between attempts; see ``Backoff`` for units and defaults. Or a function of
            the number of failed attempts and the last error that returns seconds.
        retry_on: exception classes, or dotted paths of some: only these are tried again. Default
            is all.
        dont_retry_on: these are not, whatever ``retry_on`` says.
        timeout: seconds an attempt may take; default is no limit.
        expires: seconds from when it is due, or a datetime, after which no attempt begins.
        metadata: a dict of JSON that goes with the call, for ``context.metadata``.
        max_rescues: survives so many deaths of its worker; default ``VTASKS_MAX_RESCUES``.
        result_ttl: seconds its result is kept; default ``OPTIONS["RESULT_TTL"]``, 0 keeps none.
    """

    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    backoff: Waits = DEFAULT_BACKOFF
    retry_on: Kinds | None = None
    dont_retry_on: Kinds = ()
    timeout: float | None = None
    expires: float | datetime | None = None
    metadata: Mapping[str, Any] | None = field(default=None, hash=False)
    max_rescues: int | None = None
    result_ttl: float | None = None

    def __post_init__(self) -> None:
        _validate(self)
        Task.__post_init__(self)
        registry.register(self)

    if TYPE_CHECKING:

        def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> VTaskResult[P, R]: ...
        async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> VTaskResult[P, R]: ...
        def get_result(self, result_id: str) -> VTaskResult[P, R]: ...
        async def aget_result(self, result_id: str) -> VTaskResult[P, R]: ...

    def get_backend(self) -> Any:
        """The backend of this task's alias.

        Django keeps one per context and would build ours anew for many a request; ours may be
        shared by all.
        """
        backend = _shared.get(self.backend)
        if backend is None:
            backend = task_backends[self.backend]
            if getattr(backend, "shareable", False):
                _shared[self.backend] = backend
        return backend

    def using(
        self,
        *,
        priority: int | None = None,
        queue_name: str | None = None,
        run_after: datetime | None = None,
        backend: str | None = None,
        result_ttl: float | None = None,
        expires: float | datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> "VTask[P, R]":
        """A copy with other defaults, as Django's ``using``; times are in seconds."""
        changes: dict[str, Any] = {
            "priority": priority,
            "queue_name": queue_name,
            "run_after": run_after,
            "backend": backend,
            "result_ttl": result_ttl,
            "expires": expires,
            "metadata": metadata,
        }
        return replace(self, **{k: v for k, v in changes.items() if v is not None})

    @property
    def policy(self) -> RetryPolicy:
        """The retry policy its options spell."""
        rescues = DEFAULT_MAX_RESCUES if self.max_rescues is None else self.max_rescues
        return RetryPolicy(
            self.max_attempts, rescues, self.backoff, self.retry_on, self.dont_retry_on
        )


_shared: dict[str, Any] = {}


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "TASKS" or setting.startswith("VTASKS_"):
        _shared.clear()


setting_changed.connect(_forget, dispatch_uid="vtasks_asgi.tasks")


def _validate(task: VTask[Any, Any]) -> None:
    name = task.func.__qualname__
    for option, least in (("max_attempts", 1), ("max_rescues", 0)):
        value = getattr(task, option)
        if option == "max_rescues" and value is None:
            continue
        if type(value) is not int or value < least:
            raise InvalidTask(f"{name}: {option} must be a whole number of at least {least}")
    ttl = task.result_ttl
    if ttl is not None and not (type(ttl) in (int, float) and 0 <= ttl < float("inf")):
        raise InvalidTask(f"{name}: result_ttl must be a number of seconds, 0 to keep no result")
    if problem := task_options.problem(task):
        raise InvalidTask(f"{name}: {problem}")


class _Decorator(Protocol):
    # First the coroutine functions: their result is what they return when awaited.
    @overload
    def __call__[**Q, T](self, function: Callable[Q, Coroutine[Any, Any, T]], /) -> VTask[Q, T]: ...
    @overload
    def __call__[**Q, T](self, function: Callable[Q, T], /) -> VTask[Q, T]: ...


class _ContextDecorator(Protocol):
    @overload
    def __call__[**Q, T](
        self, function: Callable[Concatenate[VTaskContext, Q], Coroutine[Any, Any, T]], /
    ) -> VTask[Q, T]: ...
    @overload
    def __call__[**Q, T](
        self, function: Callable[Concatenate[VTaskContext, Q], T], /
    ) -> VTask[Q, T]: ...


@overload
def task[**Q, T](function: Callable[Q, Coroutine[Any, Any, T]], /) -> VTask[Q, T]: ...
@overload
def task[**Q, T](function: Callable[Q, T], /) -> VTask[Q, T]: ...
@overload
def task(
    *,
    priority: int = ...,
    queue_name: str = ...,
    backend: str = ...,
    takes_context: Literal[False] = ...,
    max_attempts: int = ...,
    backoff: Waits = ...,
    retry_on: Kinds | None = ...,
    dont_retry_on: Kinds = ...,
    timeout: float | None = ...,
    expires: float | datetime | None = ...,
    metadata: Mapping[str, Any] | None = ...,
    max_rescues: int | None = ...,
    result_ttl: float | None = ...,
) -> _Decorator: ...
@overload
def task(
    *,
    priority: int = ...,
    queue_name: str = ...,
    backend: str = ...,
    takes_context: Literal[True],
    max_attempts: int = ...,
    backoff: Waits = ...,
    retry_on: Kinds | None = ...,
    dont_retry_on: Kinds = ...,
    timeout: float | None = ...,
    expires: float | datetime | None = ...,
    metadata: Mapping[str, Any] | None = ...,
    max_rescues: int | None = ...,
    result_ttl: float | None = ...,
) -> _ContextDecorator: ...
def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    priority: int = DEFAULT_TASK_PRIORITY,
    queue_name: str = DEFAULT_TASK_QUEUE_NAME,
    backend: str = DEFAULT_TASK_BACKEND_ALIAS,
    takes_context: bool = False,
    **options: Any,
) -> Any:
    """Turn a module-level function, sync or async, into a task.

    The options are Django's, and those of ``VTask``. Enqueue arguments are checked by editors
    against the function's own signature, without the context when ``takes_context`` is True.

    Raises:
        InvalidTask: the function or an option will not do; the message names it.
        TypeError: an option is unknown.
    """

    def decorate(func: Callable[..., Any]) -> VTask[..., Any]:
        try:
            return VTask(
                func=func,
                priority=priority,
                queue_name=queue_name,
                backend=backend,
                run_after=None,
                takes_context=takes_context,
                **options,
            )
        except TypeError as error:
            raise TypeError(f"@task on {func.__qualname__}: {error}") from None

    return decorate(function) if function else decorate


__all__ = ["Backoff", "VTask", "VTaskContext", "VTaskResult", "task"]
