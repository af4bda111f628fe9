"""Django's façade over a store: Task → Message, Receipt → TaskResult.

Where a call goes: inside a runtime's event loop, to that runtime's store, group-committed; from a
thread, to the same store through ``push_sync``, which joins the caller's transaction; without a
runtime, to a store of this process that opens nothing it does not need.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cache, partial
from typing import Any

from django.core import checks
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import Task
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
from django.tasks.signals import task_enqueued
from django.utils.inspect import get_func_args, is_module_level_function

from vtasks_asgi import lanes, propagation, registry, results, signals
from vtasks_asgi.conf import options, use_tz
from vtasks_asgi.core.clock import SystemClock
from vtasks_asgi.core.envelope import MAX_ENCODED, Call, encode
from vtasks_asgi.core.message import MAX_PRIORITY, MIN_PRIORITY, Message, new_id
from vtasks_asgi.core.schedule import Entry
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.results import AnyResult
from vtasks_asgi.runtime.active import runtime_of
from vtasks_asgi.runtime.cron import tick_id
from vtasks_asgi.runtime.events import hub
from vtasks_asgi.store.base import FullStore, Record, State
from vtasks_asgi.tasks import VTask

#: Seconds a result is kept unless ``OPTIONS["RESULT_TTL"]`` or the task says otherwise.
DEFAULT_RESULT_TTL = 3600.0

type AnyTask = Task[..., Any]
type Item = tuple[AnyTask, Sequence[Any], Mapping[str, Any]]


class VTasksBackend(BaseTaskBackend):
    """What the backends share. Subclasses provide ``make_store`` and name their OPTIONS."""

    task_class = VTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True
    #: One instance may serve every thread and context of the process.
    shareable = True

    #: Keys of OPTIONS every backend knows; subclasses add theirs.
    option_names: frozenset[str] = frozenset({"RESULT_TTL", "MAX_PAYLOAD"})

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, dict(params))
        # Nothing raises here: importing any task makes a backend, also for "manage.py check",
        # which is where problems belong. Whoever uses the backend is told as well.
        self._wrong: list[str] = []
        if "QUEUES" not in params:
            with suppress(ConfigurationError):
                self.queues = set(options().queues)
        self.result_ttl = float(self._number("RESULT_TTL", DEFAULT_RESULT_TTL, least=0))
        self.max_payload = int(self._number("MAX_PAYLOAD", MAX_ENCODED, least=1024))
        self._clock = SystemClock()
        self._own_store: FullStore | None = None
        for name in self.options.keys() - self.option_names:
            self._wrong.append(
                f"TASKS[{alias!r}]['OPTIONS'] has the unknown key {name!r};"
                f" known are {', '.join(sorted(self.option_names))}"
            )

    def make_store(self) -> FullStore:
        """A new store of this backend's kind, not opened yet.

        Raises:
            ConfigurationError: naming what is wrong with the backend's options.
        """
        raise NotImplementedError

    def require_good_options(self) -> None:
        """Raise ConfigurationError if OPTIONS are wrong."""
        if self._wrong:
            raise ConfigurationError(*self._wrong)

    @property
    def store(self) -> FullStore:
        """The runtime's store where one is active, else this backend's own."""
        if runtime := runtime_of(self.alias):
            return runtime.store
        if self._own_store is None:
            self._own_store = self.make_store()
        return self._own_store

    # -- producing

    def enqueue(self, task: AnyTask, args: Any, kwargs: Any) -> AnyResult:  # type: ignore[override]
        """Store one call; see Django's ``Task.enqueue``.

        Raises:
            InvalidTask: the queue, the priority or ``run_after`` will not do.
            TypeError, ValueError: an argument is not plain JSON.
            PayloadTooLarge: over ``OPTIONS["MAX_PAYLOAD"]`` bytes (default 1 MiB) encoded.
            StoreUnavailable: the store did not take it; nothing was written.
        """
        return self.enqueue_many([(task, args, kwargs)])[0]

    async def aenqueue(  # type: ignore[override]
        self, task: AnyTask, args: Any, kwargs: Any
    ) -> AnyResult:
        """``enqueue`` from a coroutine: returns once the store has acknowledged it."""
        return (await self.aenqueue_many([(task, args, kwargs)]))[0]

    def enqueue_many(self, items: Iterable[Item]) -> list[AnyResult]:
        """Store many calls ``(task, args, kwargs)`` in one step, results in order.

        All are checked before any is written. A ``queue_name`` among a call's kwargs selects its
        queue when the function has no such parameter.
        """
        prepared = self._prepare(items)
        self.store.push_sync([message for _, message, _ in prepared])
        accepted = self._accept(prepared)
        if signals.wanted(task_enqueued):
            for result in accepted:
                signals.send(task_enqueued, type(self), partial(_same, result))
        return accepted

    async def aenqueue_many(self, items: Iterable[Item]) -> list[AnyResult]:
        """``enqueue_many`` from a coroutine."""
        prepared = self._prepare(items)
        messages = [message for _, message, _ in prepared]
        runtime = runtime_of(self.alias)
        if runtime is not None and runtime.is_mine() and not lanes.in_sync_caller():
            await runtime.store.push(messages)
        else:
            store = self.store
            await lanes.in_caller_thread(lambda: store.push_sync(messages))
        accepted = self._accept(prepared)
        if signals.wanted(task_enqueued):
            for result in accepted:
                await signals.asend(task_enqueued, type(self), partial(_same, result))
        return accepted

    def _prepare(self, items: Iterable[Item]) -> list[tuple[AnyTask, Message, Call]]:
        now = self._clock.now()
        return [self._message(task, args, kwargs, now) for task, args, kwargs in items]

    def _message(
        self, task: AnyTask, args: Sequence[Any], kwargs: Mapping[str, Any], now: float
    ) -> tuple[AnyTask, Message, Call]:
        if "queue_name" in kwargs and "queue_name" not in _parameters(task.func):
            kwargs = dict(kwargs)
            task = task.using(queue_name=kwargs.pop("queue_name"))
        self._check_routing(task)
        id, name, run_at = new_id(now), task.module_path, results.epoch(task.run_after)
        call = Call(
            *(name, list(args), dict(kwargs), now, getattr(task, "result_ttl", None)),
            meta=propagation.outgoing(task, name, task.queue_name, id),
            expires_at=_expiry(getattr(task, "expires", None), now, run_at),
        )
        body = encode(call, max_size=self.max_payload)
        message = Message(id, task.queue_name, body, int(task.priority), run_at)
        return task, message, call

    def tick_message(self, entry: Entry, at: float) -> Message:
        """The message of a schedule's tick; the same id in every process.

        Raises:
            LookupError: the entry's task is not registered.
            InvalidTask, TypeError, ValueError: as ``enqueue``.
        """
        known = registry.find(entry.task)
        if known is None:
            raise LookupError(f"task {entry.task!r} is not registered")
        task = known.task.using(queue_name=entry.queue_name, priority=entry.priority)
        _, message, _ = self._message(task, entry.args, entry.kwargs, at)
        message.id = tick_id(entry.name, at)
        return message

    async def announce(self, message: Message) -> None:
        """Send Django's ``task_enqueued`` for a message the scheduler has pushed."""
        if signals.wanted(task_enqueued):
            record = Record(message.id, message.queue, State.READY, message.body, message.priority)
            result = partial(results.stored, record, self.alias)
            await signals.asend(task_enqueued, type(self), result)

    def _accept(self, prepared: list[tuple[AnyTask, Message, Call]]) -> list[AnyResult]:
        accepted = []
        for task, message, call in prepared:
            hub.submitted(call.task, message.queue, 1)
            accepted.append(results.accepted(task, message, call, self.alias))
        return accepted

    # -- validating

    def validate_task(self, task: AnyTask) -> None:
        """Django's rules, with the function looked at once instead of at every enqueue.

        Raises:
            InvalidTask: naming what is wrong.
        """
        _check_function(task.func, task.takes_context)
        self._check_routing(task)

    def _check_routing(self, task: AnyTask) -> None:
        priority, run_after = task.priority, task.run_after
        if type(priority) is not int or not MIN_PRIORITY <= priority <= MAX_PRIORITY:
            raise InvalidTask(
                f"priority must be a whole number between {MIN_PRIORITY} and {MAX_PRIORITY}."
            )
        if self.queues and task.queue_name not in self.queues:
            raise InvalidTask(
                f"Queue {task.queue_name!r} is not valid for backend {self.alias!r}: add it to"
                f" VTASKS_QUEUES or TASKS[{self.alias!r}]['QUEUES']"
                f" (known: {', '.join(sorted(self.queues))})."
            )
        if run_after is not None and use_tz() and run_after.tzinfo is None:
            raise InvalidTask("run_after must be an aware datetime.")

    # -- looking

    def get_result(self, result_id: str) -> AnyResult:
        """See Django's ``get_result``; the result of a finished task is kept for its TTL.

        Raises:
            TaskResultDoesNotExist: unknown, or no longer kept.
        """
        return self._found(result_id, self.store.lookup_sync([result_id]))

    async def aget_result(self, result_id: str) -> AnyResult:
        """``get_result`` from a coroutine."""
        runtime = runtime_of(self.alias)
        if runtime is not None and runtime.is_mine() and not lanes.in_sync_caller():
            return self._found(result_id, await runtime.store.lookup([result_id]))
        store = self.store
        found = await lanes.in_caller_thread(lambda: store.lookup_sync([result_id]))
        return self._found(result_id, found)

    def _found(self, result_id: str, records: Mapping[str, Any]) -> AnyResult:
        if (record := records.get(result_id)) is None:
            raise TaskResultDoesNotExist(result_id)
        return results.stored(record, self.alias)

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        """E005 for each wrong option; subclasses add their own."""
        return [checks.Error(problem, id="vtasks_asgi.E005") for problem in self._wrong]

    # -- helpers

    def _number(self, name: str, default: float, *, least: float) -> float:
        value = self.options.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
            self._wrong.append(
                f"TASKS[{self.alias!r}]['OPTIONS'][{name!r}] must be a number of at least {least}"
            )
            return default
        return value


@cache
def _check_function(func: Any, takes_context: bool) -> None:
    if not is_module_level_function(func):
        raise InvalidTask("Task function must be defined at a module level.")
    if func.__name__ == "<lambda>":
        raise InvalidTask("A lambda has no name to be found by; write a function with def.")
    parameters = get_func_args(func)
    if takes_context and (not parameters or parameters[0] != "context"):
        raise InvalidTask("Task takes context but does not have a first argument of 'context'.")


@cache
def _parameters(func: Any) -> frozenset[str]:
    return frozenset(get_func_args(func))


def _expiry(expires: float | datetime | None, now: float, run_at: float | None) -> float | None:
    """When it is too late to begin, in epoch seconds; seconds count from when it is due."""
    if expires is None or isinstance(expires, datetime):
        return results.epoch(expires)
    return max(now, run_at or now) + expires


def _same[T](value: T) -> T:
    return value
