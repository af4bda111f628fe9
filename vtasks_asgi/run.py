"""One attempt in progress, and the lazily built view Django has of it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from traceback import format_exception
from typing import Any

from vtasks_asgi import results
from vtasks_asgi.core.envelope import Call
from vtasks_asgi.core.follow import ENDED, GROUP, Parent, group_of, parent_of
from vtasks_asgi.core.outcome import Attempt
from vtasks_asgi.notes import Notes
from vtasks_asgi.registry import Registered
from vtasks_asgi.results import AnyResult
from vtasks_asgi.store.base import Claim, Record, State

#: Bytes of a traceback that are kept: its end, where the error is.
TRACEBACK_LIMIT = 16 * 1024


@dataclass(slots=True)
class Run:
    """A claim being run.

    ``notes`` are there once it has something to note. ``ends_at`` is when its time limit is over,
    monotonic. ``left`` once it was left behind: what became of it has been decided without it.
    ``told`` once Django's signal of its end was sent.
    """

    claim: Claim
    call: Call
    known: Registered
    attempts: list[Attempt]
    alias: str
    state: State = State.RUNNING
    finished_at: float | None = None
    value: Any = None
    packed: bytes | None = None
    reason: str | None = None
    error: BaseException | None = None
    ends_at: float | None = None
    left: bool = False
    told: bool = False
    notes: Notes | None = None
    _result: AnyResult | None = field(default=None)

    def result(self) -> AnyResult:
        """The TaskResult of this moment; the same object for all who look at one state."""
        if self._result is None:
            claim = self.claim
            record = Record(
                claim.id,
                claim.queue,
                self.state,
                claim.body,
                claim.priority,
                finished_at=self.finished_at,
                value=self.packed,
                reason=self.reason,
                note=claim.note,
            )
            self._result = results.build(
                record, self.call, self.known.task, self.attempts, self.alias
            )
            if self.packed is None:  # a value nobody keeps is shown as it is
                object.__setattr__(self._result, "_return_value", self.value)
        return self._result

    @property
    def waited(self) -> float:
        """Seconds from when it was due to its start."""
        return self.attempts[-1].started_at - (self.claim.run_at or self.call.enqueued_at)

    def finish(self, state: State, at: float, reason: str | None = None) -> None:
        self.state, self.finished_at, self.reason, self._result = state, at, reason, None

    # -- what its context shows

    @property
    def cancelled(self) -> bool:
        return self.claim.cancelled

    @property
    def number(self) -> int:
        return len(self.attempts)

    @property
    def metadata(self) -> Mapping[str, Any]:
        given = self.call.meta.get("data")
        return given if type(given) is dict else {}

    @property
    def group_id(self) -> str | None:
        meta = self.call.meta
        return group_of(meta, GROUP) or group_of(meta, ENDED)

    @property
    def parent(self) -> Parent | None:
        return parent_of(self.call.meta)

    @property
    def deadline(self) -> datetime | None:
        left = self.remaining()
        return None if left is None else results.moment(time.time() + left)

    def remaining(self) -> float | None:
        return None if self.ends_at is None else max(0.0, self.ends_at - time.monotonic())


def blame(attempt: Attempt, error: BaseException) -> None:
    """Record the error: its class and traceback, without locals, bounded."""
    kind = type(error)
    attempt.error = f"{kind.__module__}.{kind.__qualname__}"
    text = "".join(format_exception(error))
    if len(text) > TRACEBACK_LIMIT:
        text = "[...]\n" + text[-TRACEBACK_LIMIT:]
    attempt.traceback = text.encode("utf-8", "replace").decode()
