"""Tells waiting workers of this process to look again.

A push rings directly. How other processes' pushes are noticed is each engine's own affair.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass


@dataclass(slots=True)
class _Listener:
    queues: frozenset[str]
    loop: asyncio.AbstractEventLoop
    event: asyncio.Event


class Doorbell:
    """``listen`` before looking, ``wait`` if nothing was found: no ring in between is missed."""

    def __init__(self) -> None:
        self._rings_for_all = 0
        self._rings: Counter[str] = Counter()
        self._listeners: list[_Listener] = []
        #: Set while anybody waits.
        self.somebody = threading.Event()

    def ring(self, queues: Collection[str] | None = None) -> None:
        """Wake those who wait for one of these queues, or everybody; from any thread."""
        if queues is None:
            self._rings_for_all += 1
        else:
            for queue in queues:  # Counter.update takes ten times as long
                self._rings[queue] += 1
        for listener in list(self._listeners):
            if queues is None or not listener.queues.isdisjoint(queues):
                with suppress(RuntimeError):  # its loop is closed
                    listener.loop.call_soon_threadsafe(listener.event.set)

    def listen(self, queue: str) -> int:
        """A number that changes with every ring for the queue."""
        return self._rings_for_all + self._rings[queue]

    def waited_for(self) -> frozenset[str]:
        """The queues somebody waits for at this moment."""
        return frozenset().union(*(listener.queues for listener in list(self._listeners)))

    async def wait(self, heard: Mapping[str, int], timeout: float) -> None:
        """Return when it rings for one of these queues, or after ``timeout`` seconds.

        ``heard`` is what ``listen`` said for each of them before the caller looked; had it rung
        since then, this returns at once.
        """
        event = asyncio.Event()
        listener = _Listener(frozenset(heard), asyncio.get_running_loop(), event)
        self._listeners.append(listener)
        self.somebody.set()
        try:
            if all(self.listen(queue) == number for queue, number in heard.items()):
                async with asyncio.timeout(timeout):
                    await event.wait()
        except TimeoutError:
            pass
        finally:
            self._listeners.remove(listener)
            if not self._listeners:
                self.somebody.clear()
