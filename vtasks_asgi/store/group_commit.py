"""Group commit: calls that arrive while a write is in flight travel together in the next one.

The technique is that of database logs (DeWitt et al., "Implementation Techniques for Main Memory
Database Systems", SIGMOD 1984): each caller waits for its own write to be durable, but a write is
shared by all who came while the one before was busy.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

type _Call[T, R] = tuple[Sequence[T], asyncio.Future[list[R]]]
type _Group[T, R] = list[_Call[T, R]]

#: Called once, with the results of a write or with its error.
type Answer[R] = Callable[[list[R] | BaseException], None]


class GroupCommit[T, R]:
    """``await commit(items)`` returns the results for these items once they are written.

    Cancelling a caller never disturbs the write or the other callers: its items are still written.
    An error of the write reaches every caller whose items were in it.

    Args:
        write: writes the items of a group, and returns their results in order.
        post: a quicker way, where there is one: takes the items and True, or refuses with False;
            then ``write`` is asked. What it took it answers for.
        limit: items from which on a group is full.
    """

    def __init__(
        self,
        write: Callable[[list[T]], Awaitable[list[R]]],
        *,
        post: Callable[[list[T], Answer[R]], bool] | None = None,
        limit: int = 1000,
    ) -> None:
        self._write = write
        self._post = post
        self._limit = limit
        self._waiting: _Group[T, R] = []
        self._busy = False
        self._alone = False
        self._writing: asyncio.Future[list[R]] | None = None

    async def commit(self, items: Sequence[T]) -> list[R]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[R]] = loop.create_future()
        self._waiting.append((items, future))
        if not self._busy:
            self._busy = True
            if self._alone:  # as a caller who awaits one after the other: nobody else will come
                self._begin()
            else:
                loop.call_soon(self._begin)  # not at once: who comes in the same instant joins
        return await future

    # Callbacks instead of a task: each step of one would cost every caller a turn of the loop.

    def _begin(self) -> None:
        group = self._next_group()
        self._alone = len(group) == 1
        items = [item for items, _ in group for item in items]
        try:
            if self._post is not None and self._post(items, partial(self._end, group)):
                return
            writing = self._write(items)
        except Exception as error:  # noqa: BLE001 - carried to the callers
            asyncio.get_running_loop().call_soon(self._end, group, error)
        else:
            self._writing = asyncio.ensure_future(writing)
            self._writing.add_done_callback(partial(self._written, group))

    def _written(self, group: "_Group[T, R]", written: "asyncio.Future[list[R]]") -> None:
        if written.cancelled():
            self._end(group, asyncio.CancelledError())
        else:
            self._end(group, written.exception() or written.result())

    def _end(self, group: "_Group[T, R]", answer: list[R] | BaseException) -> None:
        if isinstance(answer, asyncio.CancelledError):
            for _, future in group:
                future.cancel()
        elif isinstance(answer, BaseException):
            for _, future in group:
                if not future.done():
                    future.set_exception(answer)
        else:
            _deliver(group, answer)
        if self._waiting:
            self._begin()
        else:
            self._busy = False

    def _next_group(self) -> "_Group[T, R]":
        size = count = 0
        for items, _ in self._waiting:
            size += len(items)
            count += 1
            if size >= self._limit:
                break
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group


def _deliver[T, R](group: "_Group[T, R]", results: list[R]) -> None:
    start = 0
    for items, future in group:
        if not future.done():
            future.set_result(results[start : start + len(items)])
        start += len(items)
