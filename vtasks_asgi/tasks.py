"""``VTask``: Django's task, with our options and the function's own signature."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from inspect import iscoroutinefunction
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    ParamSpec,
    Self,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from django.core.signals import setting_changed
from django.tasks import Task, task_backends
from django.tasks.exceptions import InvalidTask

from vtasks_asgi import fairness, limiting, registry, task_options, uniqueness
from vtasks_asgi.call_keys import CallKey
from vtasks_asgi.core.retry import (
    DEFAULT_BACKOFF,
    DEFAULT_MAX_ATTEMPTS,
    DEFAULT_MAX_RESCUES,
    Backoff,
    Kinds,
    RetryPolicy,
    Waits,
)

P = ParamSpec("P")
R = TypeVar("R")


if TYPE_CHECKING:
    from vtasks_asgi.task_result import VTaskResult

    class _Task(Task[P, R]): ...

else:

    class _Task(Task):
        """Django's Task is generic for type checkers only; this makes ``VTask[P, R]`` legal."""

        __slots__ = ()

        def __class_getitem__(cls, item):
            return cls


#: A call to be enqueued: task, args and kwargs, as ``enqueue_many`` takes it.
type Item = tuple[Task[..., Any], Sequence[Any], Mapping[str, Any]]

#: The same, or a task that is called without arguments.
type Called = Item | Task[..., Any]

#: What comes after a task; () for nothing.
type Then = Called | tuple[()]


class UsingOptions(TypedDict, total=False):
    """What ``using`` can change besides uniqueness; None leaves an option as it is."""

    priority: int | None
    queue_name: str | None
    run_after: datetime | None
    backend: str | None
    result_ttl: float | None
    expires: float | datetime | None
    metadata: Mapping[str, Any] | None
    then: Then | None
    ttl: float | None
    remove_unique_on_complete: bool | None
    on_duplicate: Literal["reject", "existing"] | None
    on_commit: bool | None
    concurrency_limit: int | None
    rate_limit: str | None
    limit_key: CallKey | None
    fair_key: CallKey | None


_APART = ("unique", "unique_key", "debounce", "debounce_max", "debounce_edge")
_USING = frozenset({*UsingOptions.__annotations__, *_APART})


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
        unique: at most one live message a key and queue; by default when there is a ``unique_key``.
        unique_key: a text, or a function of the arguments that returns one; default is the call:
            the task's name and arguments.
        ttl: seconds from the enqueue for which a throttled task's key is held.
        remove_unique_on_complete: False throttles: the key outlives the task, until ``ttl``.
        on_duplicate: what enqueueing a duplicate gives: "reject" None, "existing" the result of the
            message that holds the key, or None when that has ended and left no result.
        debounce: seconds that each call puts the run off: the latest arguments of a key win, and
            none is refused; 0 for none.
        debounce_max: seconds after the first call at which it runs at the latest; default never.
        debounce_edge: "trailing" runs once the calls have ceased; "leading" runs the first one at
            once and none of those within ``debounce`` seconds of it; "both" the first at once, and
            if others follow within that time, the latest of them as "trailing" does.
        on_commit: whether a store that cannot join a transaction waits for its commit; default is
            True. Database backends join it, whatever this says.
        fair_key: a text, or a function of the arguments that returns one: within one priority of a
            queue, keys take turns. Default is none; calls without one have a turn together.
        transactional: what a synchronous task does in its backend's database and its end are one
            transaction: however often it is run, its effects there come once.
        concurrency_limit: so many run at once in the whole fleet; what is above waits, and uses no
            slot and no attempt meanwhile. Default is no limit.
        rate_limit: so many start per s, m, h or d in the whole fleet, evenly spread, such as
            "100/m".
        limit_key: a text, or a function of the arguments that returns one: calls of a queue that
            have the same share their limits. Default is the task's name.
        then: the call to be enqueued once it has succeeded, see ``item``; () for none.
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
    unique: bool | None = None
    unique_key: CallKey | None = None
    ttl: float | None = None
    remove_unique_on_complete: bool = True
    on_duplicate: Literal["reject", "existing"] = "reject"
    on_commit: bool | None = None
    debounce: float | None = None
    debounce_max: float | None = None
    debounce_edge: Literal["trailing", "leading", "both"] = "trailing"
    fair_key: CallKey | None = None
    transactional: bool = False
    concurrency_limit: int | None = None
    rate_limit: str | None = None
    limit_key: CallKey | None = None
    then: Then | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        _validate(self)
        Task.__post_init__(self)
        registry.register(self)

    if TYPE_CHECKING:

        def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> VTaskResult[P, R]: ...
        async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> VTaskResult[P, R]: ...
        def get_result(self, result_id: str) -> VTaskResult[P, R]: ...
        async def aget_result(self, result_id: str) -> VTaskResult[P, R]: ...

    def item(self, *args: P.args, **kwargs: P.kwargs) -> Item:
        """A call of this task for ``enqueue_many``, ``group`` or ``then``; enqueues nothing."""
        return self, args, kwargs

    def get_backend(self) -> Any:
        """The backend of this task's alias; see ``backend_of``."""
        return backend_of(self.backend)

    @overload
    def using(
        self,
        *,
        debounce: float,
        debounce_max: float | None = ...,
        debounce_edge: Literal["trailing", "both"] | None = ...,
        unique: bool | None = ...,
        unique_key: CallKey | None = ...,
        **options: Unpack[UsingOptions],
    ) -> "VTask[P, R]": ...
    @overload
    def using(
        self,
        *,
        debounce_edge: Literal["leading"],
        debounce: float | None = ...,
        unique: bool | None = ...,
        unique_key: CallKey | None = ...,
        **options: Unpack[UsingOptions],
    ) -> "UniqueTask[P, R]": ...
    @overload
    def using(
        self,
        *,
        unique: bool | None,
        unique_key: CallKey | None = ...,
        **options: Unpack[UsingOptions],
    ) -> "UniqueTask[P, R]": ...
    @overload
    def using(
        self, *, unique_key: CallKey, **options: Unpack[UsingOptions]
    ) -> "UniqueTask[P, R]": ...
    @overload
    def using(self, **options: Unpack[UsingOptions]) -> Self: ...
    def using(self, **options: Any) -> Any:
        """A copy with other options, as Django's ``using``; those that are None stay.

        Raises:
            InvalidTask: an option will not do; the message names it.
            TypeError: an option is unknown, or can be given to ``@task`` only.
        """
        for name in options.keys() - _USING:
            raise TypeError(f"using() takes no {name!r}; it takes {', '.join(sorted(_USING))}")
        return replace(self, **{k: v for k, v in options.items() if v is not None})

    @property
    def is_unique(self) -> bool:
        """Whether its calls have a unique key."""
        if self.unique is None:
            return self.unique_key is not None or bool(self.debounce)
        return self.unique

    @property
    def policy(self) -> RetryPolicy:
        """The retry policy its options spell."""
        rescues = DEFAULT_MAX_RESCUES if self.max_rescues is None else self.max_rescues
        return RetryPolicy(
            self.max_attempts, rescues, self.backoff, self.retry_on, self.dont_retry_on
        )


if TYPE_CHECKING:

    class UniqueTask(VTask[P, R]):
        """A task whose enqueue may be refused as a duplicate, as type checkers see it."""

        def enqueue(  # type: ignore[override]
            self, *args: P.args, **kwargs: P.kwargs
        ) -> VTaskResult[P, R] | None: ...
        async def aenqueue(  # type: ignore[override]
            self, *args: P.args, **kwargs: P.kwargs
        ) -> VTaskResult[P, R] | None: ...

else:
    UniqueTask = VTask


def backend_of(alias: str) -> Any:
    """The backend of that alias.

    Django keeps one per context and would build ours anew for many a request; ours may be shared
    by all.

    Raises:
        InvalidTaskBackend: there is none.
    """
    backend = _shared.get(alias)
    if backend is None:
        backend = task_backends[alias]
        if getattr(backend, "shareable", False):
            _shared[alias] = backend
    return backend


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
    if type(task.transactional) is not bool:
        raise InvalidTask(f"{name}: transactional must be True or False")
    if task.transactional and iscoroutinefunction(task.func):
        raise InvalidTask(
            f"{name}: only a synchronous function can be transactional, for Django has no"
            " transactions in coroutines; write it with def"
        )
    if problem := _problem(task):
        raise InvalidTask(f"{name}: {problem}")


def _problem(task: VTask[Any, Any]) -> str | None:
    rooms = (task_options, uniqueness, limiting, fairness)
    return next(filter(None, (room.problem(task) for room in rooms)), None)


__all__ = ["Backoff", "UniqueTask", "VTask"]
