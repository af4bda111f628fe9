"""Group commit: calls that arrive while a write is in flight travel together in the next one.

The technique is that of database logs (DeWitt et al., "Implementation Techniques for Main Memory
Database Systems", SIGMOD 1984): each caller waits for its own write to be durable, but a write is
shared by all who came while the one before was busy.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from vtasks_asgi.store.prompt import Prompt, resume

type _Call[T, R] = tuple[Sequence[T], Prompt[list[R]]]
type _Group[T, R] = list[_Call[T, R]]

#: Called once, with the results of a write or with its error.
type Answer[R] = Callable[[list[R] | BaseException], None]

#: Calls from which on a group is cut in two, where two writes may be in flight.
HALVED = 16


class GroupCommit[T, R]:
    """``await commit(items)`` returns the results for these items once they are written.

    Cancelling a caller never disturbs the write or the other callers: its items are still written.
    An error of the write reaches every caller whose items were in it.

    Args:
        write: writes the items of a group, and returns their results in order.
        post: a quicker way, where there is one: takes the items and True, or refuses with False;
            then ``write`` is asked. What it took it answers for.
        limit: items from which on a group is full.
        flights: writes in flight at once. With two, a server works on one group while the callers
            of the other are served here.
    """

    def __init__(
        self,
        write: Callable[[list[T]], Awaitable[list[R]]],
        *,
        post: Callable[[list[T], Answer[R]], bool] | None = None,
        limit: int = 1000,
        flights: int = 1,
    ) -> None:
        self._write = write
        self._post = post
        self._limit = limit
        self._flights = flights
        self._waiting: _Group[T, R] = []
        self._flying = 0
        self._aloft = 0  # calls of all groups in flight
        self._due = False  # somebody will look at who waits
        self._alone = False
        self._writing: set[asyncio.Future[list[R]]] = set()

    async def commit(self, items: Sequence[T]) -> list[R]:
        return await self.enter(items)

    def enter(self, items: Sequence[T]) -> Prompt[list[R]]:
        """``commit`` without a coroutine around it; to be awaited once."""
        loop = asyncio.get_running_loop()
        future: Prompt[list[R]] = Prompt(loop=loop)
        self._waiting.append((items, future))
        if not self._due and self._flying < self._flights:
            self._due = True
            if (
                self._alone and not self._flying
            ):  # as who awaits one after the other: none will come
                self._begin()
            else:
                loop.call_soon(self._begin)  # not at once: who comes in the same instant joins
        return future

    # Callbacks instead of a task: each step of one would cost every caller a turn of the loop.

    def _begin(self) -> None:
        self._due = False
        while self._waiting and self._flying < self._flights:
            count = len(self._waiting)
            if self._flying:
                if 2 * count < self._aloft:  # they go with those who come back from that flight
                    return
            elif self._flights > 1 and count >= HALVED:
                count = (count + 1) // 2
            group = self._next_group(count)
            self._alone = len(group) == 1
            self._flying += 1
            self._aloft += len(group)
            self._start(group)

    def _start(self, group: "_Group[T, R]") -> None:
        items = [item for items, _ in group for item in items]
        try:
            if self._post is not None and self._post(items, partial(self._end, group)):
                return
            writing = self._write(items)
        except Exception as error:  # noqa: BLE001 - carried to the callers
            asyncio.get_running_loop().call_soon(self._end, group, error)
        else:
            task = asyncio.ensure_future(writing)
            self._writing.add(task)
            task.add_done_callback(partial(self._written, group))

    def _written(self, group: "_Group[T, R]", written: "asyncio.Future[list[R]]") -> None:
        self._writing.discard(written)
        if written.cancelled():
            self._end(group, asyncio.CancelledError())
        else:
            self._end(group, written.exception() or written.result())

    def _end(self, group: "_Group[T, R]", answer: list[R] | BaseException) -> None:
        self._flying -= 1
        self._aloft -= len(group)
        self._due = True  # who goes on now and calls again waits for all of them
        try:
            resume(_settled(group, answer))
        finally:
            self._begin()

    def _next_group(self, most: int) -> "_Group[T, R]":
        size = count = 0
        for items, _ in self._waiting:
            size += len(items)
            count += 1
            if size >= self._limit or count == most:
                break
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group


def _settled[T, R](group: "_Group[T, R]", answer: list[R] | BaseException) -> list[Prompt[list[R]]]:
    """Those who still wait, each with the answer for its items."""
    waiting = [future for _, future in group if not future.done()]
    if isinstance(answer, asyncio.CancelledError):
        for future in waiting:
            future.cancel()
        return []
    if isinstance(answer, BaseException):
        for future in waiting:
            future.set_exception(answer)
        return waiting
    start = 0
    for items, future in group:
        end = start + len(items)
        if not future.done():
            future.set_result(answer[start:end])
        start = end
    return waiting
