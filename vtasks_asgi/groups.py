"""Groups: tasks that are enqueued together, watched together, and followed by a callback."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.tasks import DEFAULT_TASK_BACKEND_ALIAS
from django.tasks.exceptions import InvalidTask
from django.utils.asyncio import async_unsafe

from vtasks_asgi.exceptions import GroupDoesNotExist
from vtasks_asgi.store.groups import GroupRecord, Member
from vtasks_asgi.task_result import VTaskResult, looks, pauses
from vtasks_asgi.tasks import Called, Then, backend_of


@dataclass(frozen=True, slots=True)
class GroupProgress:
    """How many of a group's members have ended, and how."""

    total: int
    succeeded: int
    failed: int
    pending: int

    @property
    def done(self) -> bool:
        """Whether all have ended."""
        return not self.pending


@dataclass(frozen=True, slots=True)
class Group:
    """A group by its id: asks its backend anew each time.

    What asks for a group that is not kept, or not committed yet, raises ``GroupDoesNotExist``.
    """

    id: str
    backend: str = DEFAULT_TASK_BACKEND_ALIAS

    def progress(self) -> GroupProgress:
        """How far it is."""
        return _progress(self._known(self._backend.find_group(self.id)))

    async def aprogress(self) -> GroupProgress:
        """``progress`` from a coroutine."""
        return _progress(self._known(await self._backend.afind_group(self.id)))

    def members(self) -> dict[str, Member]:
        """How each member stands, by the id of its result, in the order of the calls."""
        return self._known(self._backend.find_group(self.id, members=True)).members

    async def amembers(self) -> dict[str, Member]:
        """``members`` from a coroutine."""
        return self._known(await self._backend.afind_group(self.id, members=True)).members

    def results(self) -> list[VTaskResult[..., Any] | None]:
        """The results of the members, in the order of the calls; None where none is kept."""
        found: list[VTaskResult[..., Any] | None]
        found = self._backend.results_of(list(self.members()))
        return found

    async def aresults(self) -> list[VTaskResult[..., Any] | None]:
        """``results`` from a coroutine."""
        found: list[VTaskResult[..., Any] | None]
        found = await self._backend.aresults_of(list(await self.amembers()))
        return found

    async def await_done(self, timeout: float | None = None) -> GroupProgress:
        """Wait until all members have ended, at most ``timeout`` seconds.

        Raises:
            TimeoutError: they have not by then; they go on.
        """
        try:
            async with asyncio.timeout(timeout) as limit:
                for pause in pauses():
                    if (progress := await self.aprogress()).done:
                        return progress
                    await asyncio.sleep(pause)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TimeoutError(self._late(timeout)) from error
        raise AssertionError("there is always another pause")

    @async_unsafe("wait() would block the event loop; use await_done()")
    def wait(self, timeout: float | None = None) -> GroupProgress:
        """``await_done`` for synchronous code; the thread sleeps meanwhile."""
        for _ in looks(timeout, self._late):
            if (progress := self.progress()).done:
                return progress
        raise AssertionError("there is always another pause")

    @property
    def _backend(self) -> Any:
        return backend_of(self.backend)

    def _known(self, record: GroupRecord | None) -> GroupRecord:
        if record is None:
            raise GroupDoesNotExist(self.id)
        return record

    def _late(self, timeout: float | None) -> str:
        return f"the group {self.id} is not complete within {timeout:g} s"


def _progress(record: GroupRecord) -> GroupProgress:
    succeeded = record.total - record.failed - record.pending
    return GroupProgress(record.total, succeeded, record.failed, record.pending)


def group(
    items: Iterable[Called],
    *,
    on_complete: Then | None = None,
    on_success: Then | None = None,
    on_failure: Then | None = None,
    result_ttl: float | None = None,
) -> Group:
    """Enqueue calls as a group, all or none, and what is to be called once all have ended.

    Args:
        items: calls as ``enqueue_many`` takes them, such as ``task.item(1)``; of one backend.
        on_complete: a task, or a call of one, once every member has ended, well or not.
        on_success: the same, if all have succeeded.
        on_failure: the same, if any has not.
        result_ttl: seconds the group is kept once it is complete; default a day.

    Raises:
        InvalidTask: an item or an option will not do; the message names it.
        TypeError, ValueError, PayloadTooLarge, StoreUnavailable: as ``enqueue``.
    """
    chosen, backend = _of_one_backend(items, (on_complete, on_success, on_failure))
    made: Group = backend.group(
        chosen,
        on_complete=on_complete,
        on_success=on_success,
        on_failure=on_failure,
        result_ttl=result_ttl,
    )
    return made


async def agroup(
    items: Iterable[Called],
    *,
    on_complete: Then | None = None,
    on_success: Then | None = None,
    on_failure: Then | None = None,
    result_ttl: float | None = None,
) -> Group:
    """``group`` from a coroutine: returns once the store has acknowledged it."""
    chosen, backend = _of_one_backend(items, (on_complete, on_success, on_failure))
    made: Group = await backend.agroup(
        chosen,
        on_complete=on_complete,
        on_success=on_success,
        on_failure=on_failure,
        result_ttl=result_ttl,
    )
    return made


def get_group(id: str, *, backend: str = DEFAULT_TASK_BACKEND_ALIAS) -> Group:
    """The group of that id. Asks nothing: whether it is kept shows when it is asked."""
    return Group(id, backend)


def _of_one_backend(items: Iterable[Called], callbacks: Iterable[Any]) -> tuple[list[Called], Any]:
    chosen = list(items)
    calls: list[Any] = chosen or [each for each in callbacks if each]
    tasks = [each[0] if isinstance(each, tuple) and each else each for each in calls]
    aliases = dict.fromkeys(getattr(task, "backend", DEFAULT_TASK_BACKEND_ALIAS) for task in tasks)
    if len(aliases) > 1:
        raise InvalidTask(
            f"a group is of one backend, not of {', '.join(map(repr, aliases))}: make a group of"
            " each, or add .using(backend=...)"
        )
    backend = backend_of(next(iter(aliases), DEFAULT_TASK_BACKEND_ALIAS))
    if not hasattr(backend, "agroup"):
        raise InvalidTask(f"the backend {backend.alias!r} is none of ours, so it has no groups")
    return chosen, backend
