"""What a running task notes: progress for onlookers, and a checkpoint for its next attempt.

Each change is in the claim at once, and so in whatever is settled; in between it is written at most
twice a second. A crash therefore loses at most the last half second of notes. Those of a
transactional task are part of its transaction: written with its end, and undone with its effects.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from vtasks_asgi.core.envelope import check_json, pack
from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.core.note import Progress, decode_note, encode_note, load_saved
from vtasks_asgi.store.base import Claim

logger = logging.getLogger("vtasks_asgi")

#: Writes the claim's note; False if its lease had passed on.
type Write = Callable[[Claim], Awaitable[bool]]

#: Seconds between two writes of one run.
PAUSE = 0.5
#: Seconds that a thread waits at most for a write of its own.
PATIENCE = 10.0


class Notes:
    """The notes of one run; from its thread, or from its coroutine on ``loop``.

    Args:
        write: None to have them written with the outcome only.
        max_size: bytes a checkpoint may take, encoded.
        joint: they count only if the task succeeds, see ``include``.
    """

    def __init__(
        self,
        claim: Claim,
        write: Write | None,
        *,
        max_size: int,
        loop: asyncio.AbstractEventLoop,
        joint: bool = False,
    ) -> None:
        self._claim = claim
        self._before = claim.note
        self._joint = joint
        self._store = None if joint else write
        self._max_size = max_size
        self._loop = loop
        self._note = decode_note(claim.note)
        self._next = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._closed = False
        self._complained = False
        #: Whether the store has never refused a write, because somebody else has the message.
        self.held = True

    def load(self) -> Any:
        """The checkpoint, be it an earlier attempt's; None if there is none."""
        return load_saved(self._note)

    def progress(self, progress: Progress) -> None:
        """Note it; never waits."""
        self._note.progress = progress
        self._changed()
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._see_to_it)

    def keep(self, value: Any) -> None:
        """Note a checkpoint; ``written`` or ``wait_written`` have to follow.

        Raises:
            TypeError, ValueError: it is not plain JSON.
            PayloadTooLarge: it is over the limit once encoded.
        """
        check_json(value, "the checkpoint")
        self._note.saved = pack(value, "the checkpoint", max_size=self._max_size)
        self._changed()

    async def written(self) -> bool:
        """Until the checkpoint is written, unless it is too early for that; whether it is ours."""
        self._see_to_it()
        if self._writing is not None:
            await asyncio.shield(self._writing)
        return self.held

    def wait_written(self) -> bool:
        """``written`` from another thread."""
        early = self._loop.time() < self._next
        # A bare lock: the thread may be interrupted while it waits, see vtasks_asgi.interrupt.
        done = threading.Lock()
        done.acquire()
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._see_to_it, done)
            if not early:
                done.acquire(timeout=PATIENCE)
        return self.held

    def include(self) -> None:
        """The task has succeeded: its transaction is about to be settled."""
        self._claim.note = encode_note(self._note)

    def close(self, *, succeeded: bool) -> None:
        """The run is over: what is not written yet is settled with its outcome."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._joint and not succeeded:
            self._claim.note = self._before

    def _changed(self) -> None:
        if not (self._closed or self._joint):
            self.include()

    # -- on the loop

    def _see_to_it(self, done: "threading.Lock | None" = None) -> None:
        """Let the change be written, now or when it is time; ``done`` is for who waits for it."""
        idle = self._timer is None and self._writing is None
        if idle and not self._closed and self._store is not None:
            wait = self._next - self._loop.time()
            if wait > 0:
                self._timer = self._loop.call_later(wait, self._begin)
            else:
                self._begin()
        if done is not None and self._writing is not None:
            self._writing.add_done_callback(lambda _: done.release())
        elif done is not None:
            done.release()

    def _begin(self) -> None:
        self._timer = None
        self._next = self._loop.time() + PAUSE
        self._writing = self._loop.create_task(self._write())

    async def _write(self) -> None:
        assert self._store is not None
        note: bytes | None = self._claim.note
        try:
            self.held = await self._store(self._claim)
        except StoreError as error:
            note = None  # once more, when it is time
            self._complain(error)
        finally:
            self._writing = None
        if self.held and note is not self._claim.note:
            self._see_to_it()

    def _complain(self, error: StoreError) -> None:
        if not self._complained:
            self._complained = True
            logger.warning("A note of message %s is not written yet: %s", self._claim.id, error)
