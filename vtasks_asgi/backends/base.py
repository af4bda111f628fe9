"""Django's façade over a store: Task → Message, Receipt → TaskResult.

Where a call goes: inside a runtime's event loop, to that runtime's store, group-committed; from a
thread, to the same store through ``push_sync``, which joins the caller's transaction or waits for
its commit; without a runtime, to a store of this process that opens nothing it does not need.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.core import checks
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.exceptions import TaskResultDoesNotExist
from django.tasks.signals import task_enqueued

from vtasks_asgi import (
    fairness,
    lanes,
    limiting,
    propagation,
    registry,
    results,
    signals,
    uniqueness,
)
from vtasks_asgi.backends import commit, validate
from vtasks_asgi.backends.answers import AnyTask, Prepared, Pushed, accepted, answer, holders
from vtasks_asgi.backends.awaited import push_many, push_one, store_here
from vtasks_asgi.backends.cancelling import Cancelling
from vtasks_asgi.backends.grouping import Grouping
from vtasks_asgi.backends.routing import Routing
from vtasks_asgi.backends.telling import Telling
from vtasks_asgi.core.clock import Clock, SystemClock
from vtasks_asgi.core.envelope import MAX_ENCODED, Call, encode
from vtasks_asgi.core.follow import GROUP, THEN
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.schedule import Entry
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.joint import Joint
from vtasks_asgi.results import AnyResult
from vtasks_asgi.runtime.active import runtime_of
from vtasks_asgi.runtime.cron import tick_id
from vtasks_asgi.store.base import FullStore
from vtasks_asgi.tasks import Item, VTask

#: Seconds a result is kept unless ``OPTIONS["RESULT_TTL"]`` or the task says otherwise.
DEFAULT_RESULT_TTL = 3600.0


class VTasksBackend(Cancelling, Grouping, Telling, BaseTaskBackend):
    """What the backends share. Subclasses provide ``make_store`` and name their OPTIONS."""

    task_class = VTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True
    shareable = True  # one instance may serve every thread and context of the process
    transacts = False  # tasks may be transactional
    #: Keys of OPTIONS every backend knows; subclasses add theirs.
    option_names: frozenset[str] = frozenset({"RESULT_TTL", "MAX_PAYLOAD"})

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        self.routing = Routing(alias)
        super().__init__(alias, dict(params))
        # Nothing raises here: importing any task makes a backend, also for "manage.py check",
        # which is where problems belong. Whoever uses the backend is told as well.
        self._wrong: list[str] = []
        if "QUEUES" not in params:
            self.routing.have(None)
        self.result_ttl = float(self._number("RESULT_TTL", DEFAULT_RESULT_TTL, least=0))
        self.max_payload = int(self._number("MAX_PAYLOAD", MAX_ENCODED, least=1024))
        self._clock: Clock = SystemClock()
        self._own_store: FullStore | None = None
        for name in self.options.keys() - self.option_names:
            self._wrong.append(
                f"TASKS[{alias!r}]['OPTIONS'] has the unknown key {name!r};"
                f" known are {', '.join(sorted(self.option_names))}"
            )

    @property
    def queues(self) -> set[str]:
        """The queues there are: ``TASKS[alias]["QUEUES"]``, or those of the settings."""
        return self.routing.queues

    @queues.setter
    def queues(self, queues: set[str]) -> None:
        self.routing.have(queues)

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

    def joint(self, store: object) -> Joint | None:
        """How transactional tasks are run whose messages are in ``store``, if they can be."""
        return None

    def joins(self, alias: str) -> bool:
        """Whether a push is part of the caller's transaction on this database.

        Where it is part of none, it waits for the commit, unless the task has ``on_commit=False``.
        """
        return False

    @property
    def store(self) -> FullStore:
        """The runtime's store where one is active, else this backend's own."""
        if runtime := runtime_of(self.alias):
            return runtime.store
        if self._own_store is None:
            self._own_store = self.make_store()
        return self._own_store

    # -- producing

    def enqueue(  # type: ignore[override]
        self, task: AnyTask, args: Any, kwargs: Any
    ) -> AnyResult | None:
        """Store one call; see Django's ``Task.enqueue``. None if it is a duplicate.

        Raises:
            InvalidTask: the queue, the priority, ``run_after`` or one of its keys will not do.
            TypeError, ValueError: an argument is not plain JSON.
            PayloadTooLarge: over ``OPTIONS["MAX_PAYLOAD"]`` bytes (default 1 MiB) encoded.
            StoreUnavailable: the store did not take it; nothing was written.
        """
        return self.enqueue_many([(task, args, kwargs)])[0]

    async def aenqueue(  # type: ignore[override]
        self, task: AnyTask, args: Any, kwargs: Any
    ) -> AnyResult | None:
        """``enqueue`` from a coroutine: returns once the store has acknowledged it."""
        if (store := store_here(self.alias)) is None or signals.wanted(task_enqueued):
            return (await self.aenqueue_many([(task, args, kwargs)]))[0]
        call = self._prepared(task, args, kwargs, self._clock.now())
        return await push_one(store, call, self.alias)

    def enqueue_many(self, items: Iterable[Item]) -> list[AnyResult | None]:
        """Store many calls ``(task, args, kwargs)`` in one step, results in order.

        All are checked before any is written. A ``queue_name`` among a call's kwargs selects its
        queue when the function has no such parameter. Duplicates of unique tasks are None.
        """
        pushed = self._push(self._prepare(items))
        self._tell(pushed)
        return pushed.answers

    async def aenqueue_many(self, items: Iterable[Item]) -> list[AnyResult | None]:
        """``enqueue_many`` from a coroutine."""
        calls = self._prepare(items)
        if (store := store_here(self.alias)) is not None:
            pushed = await push_many(store, calls, self.alias)
        else:
            pushed = await lanes.in_caller_thread(lambda: self._push(calls))
        await self._atell(pushed)
        return pushed.answers

    def _push(self, calls: list[Prepared]) -> Pushed:
        """Push from the caller's thread, or see to it that the end of its transaction does."""
        store, aliases = self.store, commit.open_transactions()
        if not aliases or any(map(self.joins, aliases)):
            return self._push_now(store, calls)
        if waiting := [each for each in calls if each.waits]:
            commit.after_commit(aliases, lambda: self._tell(self._push_now(store, waiting)))
        pushed = self._push_now(store, [each for each in calls if not each.waits])
        now = iter(pushed.answers)
        return Pushed(
            [accepted(each, self.alias) if each.waits else next(now) for each in calls],
            pushed.stored,
        )

    def _push_now(self, store: FullStore, calls: list[Prepared]) -> Pushed:
        if not calls:
            return Pushed([], [])
        receipts = store.push_sync([each.message for each in calls])
        wanted = holders(calls, receipts)
        found = store.lookup_sync(wanted) if wanted else {}
        return answer(calls, receipts, found, self.alias)

    def _prepare(self, items: Iterable[Item]) -> list[Prepared]:
        now = self._clock.now()
        return [self._prepared(task, args, kwargs, now) for task, args, kwargs in items]

    def _prepared(
        self,
        task: AnyTask,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        now: float,
        group: str | None = None,
    ) -> Prepared:
        if "queue_name" in kwargs and "queue_name" not in validate.parameters(task.func):
            kwargs = dict(kwargs)
            task = task.using(queue_name=kwargs.pop("queue_name"))
        plan = self.routing.plan(task)
        if plan.plain and group is None:
            return plan.prepared(args, kwargs, now, self.max_payload)
        id, name, run_at = new_id(now), task.module_path, results.epoch(task.run_after)
        expires = getattr(task, "expires", None)
        call = Call(
            *(name, list(args), dict(kwargs), now, getattr(task, "result_ttl", None)),
            meta=propagation.outgoing(task, name, task.queue_name, id),
            expires_at=expires and _expiry(expires, max(now, run_at or now)),
        )
        if then := getattr(task, "then", None):
            call.meta[THEN] = self._rows_after(then, now)
        if group is not None:
            call.meta[GROUP] = group
        body = encode(call, max_size=self.max_payload)
        message = Message(id, task.queue_name, body, int(task.priority), run_at)
        uniqueness.mark(message, task, call)
        limiting.mark(message, task, call)
        fairness.mark(message, task, call)
        return Prepared(task, message, call)

    def tick_message(self, entry: Entry, at: float) -> Message:
        """The message of a schedule's tick; the same id in every process.

        Raises:
            LookupError: the entry's task is not registered.
            InvalidTask, TypeError, ValueError: as ``enqueue``.
        """
        known = registry.find(entry.task)
        if known is None:
            raise LookupError(f"task {entry.task!r} is not registered")
        task = known.task.using(
            queue_name=entry.queue_name,
            priority=entry.priority,
            unique=entry.unique,
            unique_key=entry.unique_key,
            debounce=0,  # a tick has its time
            run_after=results.moment(entry.start(at)),
        )
        message = self._prepared(task, entry.args, entry.kwargs, at).message
        message.id = tick_id(entry.name, at)
        return message

    # -- validating

    def validate_task(self, task: AnyTask) -> None:
        """Django's rules, with the function looked at once instead of at every enqueue.

        Raises:
            InvalidTask: naming what is wrong.
        """
        validate.check_function(task.func, task.takes_context)
        validate.check_routing(task, self.queues, self.alias)
        if not self.transacts:
            validate.check_untransactional(task, self.alias)

    # -- looking

    def get_result(self, result_id: str) -> AnyResult:
        """See Django's ``get_result``; the result of a finished task is kept for its TTL.

        Raises:
            TaskResultDoesNotExist: unknown, or no longer kept.
        """
        return self._found(result_id, self.store.lookup_sync([result_id]))

    async def aget_result(self, result_id: str) -> AnyResult:
        """``get_result`` from a coroutine."""
        if (store := store_here(self.alias)) is not None:
            return self._found(result_id, await store.lookup([result_id]))
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

    def _number(self, name: str, default: float, *, least: float) -> float:
        value = self.options.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
            self._wrong.append(
                f"TASKS[{self.alias!r}]['OPTIONS'][{name!r}] must be a number of at least {least}"
            )
            return default
        return value


def _expiry(expires: float | datetime, due: float) -> float | None:
    """When it is too late to begin, in epoch seconds; seconds count from when it is due."""
    return results.epoch(expires) if isinstance(expires, datetime) else due + expires


__all__ = ["DEFAULT_RESULT_TTL", "Item", "VTasksBackend"]
