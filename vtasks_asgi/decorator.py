"""``@task``: a function becomes a task, and keeps its signature for editors."""

from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import Any, Concatenate, Literal, Protocol, TypedDict, Unpack, overload

from django.tasks import (
    DEFAULT_TASK_BACKEND_ALIAS,
    DEFAULT_TASK_QUEUE_NAME,
)
from django.tasks.base import DEFAULT_TASK_PRIORITY

from vtasks_asgi.call_keys import CallKey
from vtasks_asgi.context import VTaskContext
from vtasks_asgi.core.retry import Kinds, Waits
from vtasks_asgi.tasks import Then, UniqueTask, VTask


class TaskOptions(TypedDict, total=False):
    """What ``@task`` takes besides ``takes_context`` and uniqueness; see ``VTask``."""

    priority: int
    queue_name: str
    backend: str
    max_attempts: int
    backoff: Waits
    retry_on: Kinds | None
    dont_retry_on: Kinds
    timeout: float | None
    expires: float | datetime | None
    metadata: Mapping[str, Any] | None
    max_rescues: int | None
    result_ttl: float | None
    ttl: float | None
    remove_unique_on_complete: bool
    on_duplicate: Literal["reject", "existing"]
    on_commit: bool | None
    transactional: bool
    concurrency_limit: int | None
    rate_limit: str | None
    limit_key: CallKey | None
    then: Then
    fair_key: CallKey | None


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


class _UniqueDecorator(Protocol):
    @overload
    def __call__[**Q, T](
        self, function: Callable[Q, Coroutine[Any, Any, T]], /
    ) -> UniqueTask[Q, T]: ...
    @overload
    def __call__[**Q, T](self, function: Callable[Q, T], /) -> UniqueTask[Q, T]: ...


class _UniqueContextDecorator(Protocol):
    @overload
    def __call__[**Q, T](
        self, function: Callable[Concatenate[VTaskContext, Q], Coroutine[Any, Any, T]], /
    ) -> UniqueTask[Q, T]: ...
    @overload
    def __call__[**Q, T](
        self, function: Callable[Concatenate[VTaskContext, Q], T], /
    ) -> UniqueTask[Q, T]: ...


@overload
def task[**Q, T](function: Callable[Q, Coroutine[Any, Any, T]], /) -> VTask[Q, T]: ...
@overload
def task[**Q, T](function: Callable[Q, T], /) -> VTask[Q, T]: ...
# A debounced task's enqueue is never refused, unless only the first of several calls counts; a
# unique one's may answer None.
@overload
def task(
    *,
    debounce: float,
    debounce_max: float | None = ...,
    debounce_edge: Literal["trailing", "both"] = ...,
    unique: bool = ...,
    unique_key: CallKey = ...,
    takes_context: Literal[False] = ...,
    **options: Unpack[TaskOptions],
) -> _Decorator: ...
@overload
def task(
    *,
    debounce: float,
    debounce_max: float | None = ...,
    debounce_edge: Literal["trailing", "both"] = ...,
    unique: bool = ...,
    unique_key: CallKey = ...,
    takes_context: Literal[True],
    **options: Unpack[TaskOptions],
) -> _ContextDecorator: ...
@overload
def task(
    *,
    debounce: float,
    debounce_edge: Literal["leading"],
    unique: bool = ...,
    unique_key: CallKey = ...,
    takes_context: Literal[False] = ...,
    **options: Unpack[TaskOptions],
) -> _UniqueDecorator: ...
@overload
def task(
    *,
    debounce: float,
    debounce_edge: Literal["leading"],
    unique: bool = ...,
    unique_key: CallKey = ...,
    takes_context: Literal[True],
    **options: Unpack[TaskOptions],
) -> _UniqueContextDecorator: ...
@overload
def task(
    *,
    unique: bool,
    unique_key: CallKey = ...,
    takes_context: Literal[False] = ...,
    **options: Unpack[TaskOptions],
) -> _UniqueDecorator: ...
@overload
def task(
    *,
    unique: bool,
    unique_key: CallKey = ...,
    takes_context: Literal[True],
    **options: Unpack[TaskOptions],
) -> _UniqueContextDecorator: ...
@overload
def task(
    *,
    unique_key: CallKey,
    takes_context: Literal[False] = ...,
    **options: Unpack[TaskOptions],
) -> _UniqueDecorator: ...
@overload
def task(
    *, unique_key: CallKey, takes_context: Literal[True], **options: Unpack[TaskOptions]
) -> _UniqueContextDecorator: ...
@overload
def task(*, takes_context: Literal[False] = ..., **options: Unpack[TaskOptions]) -> _Decorator: ...
@overload
def task(*, takes_context: Literal[True], **options: Unpack[TaskOptions]) -> _ContextDecorator: ...
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
