"""Group commit: calls that arrive while a write is in flight travel together in the next one.

The technique is that of database logs (DeWitt et al., "Implementation Techniques for Main Memory
Database Systems", SIGMOD 1984): each caller waits for its own write to be durable, but a write is
shared by all who came while the one before was busy.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence


class GroupCommit[T, R]:
    """``await commit(items)`` returns the results for these items once they are written.

    Cancelling a caller never disturbs the write or the other callers: its items are still written.
    An error of the write reaches every caller whose items were in it.
    """

    def __init__(
        self, write: Callable[[list[T]], Awaitable[list[R]]], *, limit: int = 1000
    ) -> None:
        self._write = write
        self._limit = limit
        self._waiting: list[tuple[Sequence[T], asyncio.Future[list[R]]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def commit(self, items: Sequence[T]) -> list[R]:
        future: asyncio.Future[list[R]] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._write_group(self._next_group())
        finally:
            self._writing = None
            for _, future in self._waiting:  # some are left only if this was cancelled
                future.cancel()
            self._waiting.clear()

    def _next_group(self) -> list[tuple[Sequence[T], asyncio.Future[list[R]]]]:
        size = count = 0
        for items, _ in self._waiting:
            size += len(items)
            count += 1
            if size >= self._limit:
                break
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _write_group(
        self, group: list[tuple[Sequence[T], "asyncio.Future[list[R]]"]]
    ) -> None:
        try:
            results = await self._write([item for items, _ in group for item in items])
        except BaseException as error:
            for _, future in group:
                if not future.done():
                    _fail(future, error)
            if not isinstance(error, Exception):
                raise
            return
        start = 0
        for items, future in group:
            if not future.done():
                future.set_result(results[start : start + len(items)])
            start += len(items)


def _fail[R](future: "asyncio.Future[list[R]]", error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError):
        future.cancel()
    else:
        future.set_exception(error)
