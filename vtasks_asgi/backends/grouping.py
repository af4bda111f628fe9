"""Groups of tasks, and what comes after a task: the part of every backend that makes them."""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, inf
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, Unpack

from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist

from vtasks_asgi import lanes, results, task_options
from vtasks_asgi.backends import commit
from vtasks_asgi.backends.answers import Prepared, Pushed, accepted, answer, holders
from vtasks_asgi.backends.awaited import store_here
from vtasks_asgi.core.clock import Clock
from vtasks_asgi.core.errors import MessageUndecodable
from vtasks_asgi.core.follow import COMPLETE, FAILURE, SUCCESS, THEN, Successor, encode_plan
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.groups import Group
from vtasks_asgi.results import AnyResult
from vtasks_asgi.runtime.follow import callbacks_of
from vtasks_asgi.store.base import FullStore, Record
from vtasks_asgi.store.groups import GroupRecord, NewGroup, Opened
from vtasks_asgi.tasks import Called, Then

#: Seconds the record of a group is kept once it is complete, unless it says otherwise: a day.
KEEP = 24 * 3600.0


class Callbacks(TypedDict):
    """The options of ``group``."""

    on_complete: NotRequired[Then | None]
    on_success: NotRequired[Then | None]
    on_failure: NotRequired[Then | None]
    result_ttl: NotRequired[float | None]


class Grouping:
    """What it asks of a backend is below."""

    alias: str
    max_payload: int
    _clock: Clock

    if TYPE_CHECKING:

        @property
        def store(self) -> FullStore: ...
        def joins(self, alias: str) -> bool: ...
        def _tell(self, pushed: Pushed) -> None: ...
        async def _atell(self, pushed: Pushed) -> None: ...
        def _prepared(
            self,
            task: Any,
            args: Sequence[Any],
            kwargs: Mapping[str, Any],
            now: float,
            group: str | None = None,
        ) -> Prepared: ...

    # -- what comes after

    def _rows_after(self, then: Then, now: float) -> list[Any]:
        """The calls that come one after the other, this one first, as a message carries them."""
        successor = self._successor(then, now)
        rest = successor.call.meta.pop(THEN, [])
        return [successor.row(), *rest]

    def _successor(self, then: Any, now: float) -> Successor:
        task, args, kwargs = _call(then)
        if task.backend != self.alias:
            raise InvalidTask(
                f"{task.module_path} is of the backend {task.backend!r}, but what comes after a"
                f" task or a group is enqueued where that is: add .using(backend={self.alias!r})"
            )
        prepared = self._prepared(task, args, kwargs, now)
        expires = getattr(task, "expires", None)
        wait = float(expires) if isinstance(expires, int | float) else None
        return Successor(prepared.call, prepared.message, wait)

    # -- groups

    def group(self, items: Iterable[Called], **options: Unpack[Callbacks]) -> Group:
        """Enqueue calls as a group, in one step; see ``vtasks_asgi.group``."""
        return self._open_group(items, options)[0]

    async def agroup(self, items: Iterable[Called], **options: Unpack[Callbacks]) -> Group:
        """``group`` from a coroutine."""
        return (await self._aopen_group(items, options))[0]

    def _open_group(self, items: Iterable[Called], options: Callbacks) -> tuple[Group, Pushed]:
        new, calls = self._grouped(items, options)
        store, aliases = self.store, commit.open_transactions()
        if aliases and not any(map(self.joins, aliases)) and _waits(calls):
            commit.after_commit(aliases, lambda: self._tell(self._open_here(store, new, calls)))
            pushed = Pushed([accepted(each, self.alias) for each in calls], [])
        else:
            pushed = self._open_here(store, new, calls)
            self._tell(pushed)
        return Group(new.id, self.alias), pushed

    async def _aopen_group(
        self, items: Iterable[Called], options: Callbacks
    ) -> tuple[Group, Pushed]:
        if (store := store_here(self.alias)) is None:
            return await lanes.in_caller_thread(lambda: self._open_group(items, options))
        new, calls = self._grouped(items, options)
        opened = await store.open_group(new, [each.message for each in calls])
        callbacks = self._callbacks(opened.completed)
        if callbacks:
            await store.push(callbacks)
        wanted = holders(calls, opened.receipts)
        found = await store.lookup(wanted) if wanted else {}
        pushed = self._pushed(calls, opened, found, callbacks)
        await self._atell(pushed)
        return Group(new.id, self.alias), pushed

    def _open_here(self, store: FullStore, new: NewGroup, calls: Sequence[Prepared]) -> Pushed:
        opened = store.open_group_sync(new, [each.message for each in calls])
        callbacks = self._callbacks(opened.completed)
        if callbacks:
            store.push_sync(callbacks)
        wanted = holders(calls, opened.receipts)
        found = store.lookup_sync(wanted) if wanted else {}
        return self._pushed(calls, opened, found, callbacks)

    def _callbacks(self, completed: GroupRecord | None) -> list[Message]:
        return callbacks_of(completed, self._clock.now()) if completed else []

    def _pushed(
        self,
        calls: Sequence[Prepared],
        opened: Opened,
        found: Mapping[str, Record],
        callbacks: Iterable[Message],
    ) -> Pushed:
        pushed = answer(calls, opened.receipts, found, self.alias)
        pushed.stored += [result for each in callbacks if (result := self._as_result(each))]
        return pushed

    def _as_result(self, message: Message) -> AnyResult | None:
        """The result of a message that was just stored, None if its task is not known here."""
        try:
            return results.waiting(message, self.alias)
        except (MessageUndecodable, TaskResultDoesNotExist):
            return None

    def _grouped(
        self, items: Iterable[Called], options: Callbacks
    ) -> tuple[NewGroup, list[Prepared]]:
        """Everything that is checked, before anything is written."""
        now = self._clock.now()
        id, keep = new_id(now), options.get("result_ttl")
        if keep is not None and not (type(keep) in (int, float) and 0 <= keep < inf):
            raise InvalidTask("result_ttl of a group must be a number of seconds, 0 or more")
        events = {COMPLETE: "on_complete", SUCCESS: "on_success", FAILURE: "on_failure"}
        chosen: dict[str, Successor] = {}
        for event, option in events.items():
            callback: Any = options.get(option)
            if problem := task_options.not_callable(option, callback):
                raise InvalidTask(problem)
            if callback:
                chosen[event] = self._successor(callback, now)
        calls = [self._member(item, now, id) for item in items]
        plan = encode_plan(chosen, max_size=self.max_payload)
        return NewGroup(id, plan, ceil(KEEP if keep is None else keep)), calls

    def _member(self, item: Any, now: float, group: str) -> Prepared:
        problem = task_options.not_callable("a member of a group", item)
        if problem or not item:
            raise InvalidTask(problem or f"a group has {item!r} among its calls: leave it out")
        task, args, kwargs = _call(item)
        prepared = self._prepared(task, args, kwargs, now, group)
        if prepared.message.debounce is not None:
            raise InvalidTask(
                f"{prepared.call.task} is debounced: its calls become one, and a group counts each;"
                " add .using(debounce=0)"
            )
        return prepared

    # -- looking

    def find_group(self, id: str, *, members: bool = False) -> GroupRecord | None:
        """The store's record of a group, with its members if wanted; None if it is not kept."""
        return self.store.find_group_sync(id, members=members)

    async def afind_group(self, id: str, *, members: bool = False) -> GroupRecord | None:
        """``find_group`` from a coroutine."""
        if (store := store_here(self.alias)) is not None:
            return await store.find_group(id, members=members)
        return await lanes.in_caller_thread(lambda: self.find_group(id, members=members))

    def results_of(self, ids: Sequence[str]) -> list[AnyResult | None]:
        """The results of these ids, in order; None where none is kept."""
        return self._shown(ids, self.store.lookup_sync(ids))

    async def aresults_of(self, ids: Sequence[str]) -> list[AnyResult | None]:
        """``results_of`` from a coroutine."""
        if (store := store_here(self.alias)) is not None:
            return self._shown(ids, await store.lookup(ids))
        return await lanes.in_caller_thread(lambda: self.results_of(ids))

    def _shown(self, ids: Sequence[str], found: Mapping[str, Record]) -> list[AnyResult | None]:
        return [results.stored(found[id], self.alias) if id in found else None for id in ids]


def _call(item: Any) -> Any:
    """The task, its arguments and its keyword arguments, of a call or of a task alone."""
    return item if isinstance(item, tuple) else (item, (), {})


def _waits(calls: Sequence[Prepared]) -> bool:
    """Whether the group is opened at the end of a transaction that cannot be joined."""
    return not calls or any(each.waits for each in calls)
