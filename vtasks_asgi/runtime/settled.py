"""Who waits in this loop for which messages: told when the store has answered for one."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class News:
    """That a message was settled, maybe not for the last time."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        self._event.set()

    async def wait(self, timeout: float) -> None:
        """Until there is some, at most ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()


class Settled:
    """Everybody who waits. ``told`` costs next to nothing while nobody does."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[News]] = {}

    @contextmanager
    def expected(self, id: str) -> Iterator[News]:
        """News of this message, from now until the body is left."""
        news = News()
        self._waiting.setdefault(id, []).append(news)
        try:
            yield news
        finally:
            others = self._waiting[id]
            others.remove(news)
            if not others:
                del self._waiting[id]

    def told(self, id: str) -> None:
        """The store has written an outcome of this message."""
        if self._waiting:
            for news in self._waiting.get(id, ()):
                news.tell()
