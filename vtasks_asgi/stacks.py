"""Where something is that does not end: its stack, without locals, as text."""

import sys
from collections.abc import Iterator
from traceback import StackSummary
from types import FrameType
from typing import Any

#: Frames shown: the innermost, where it hangs.
LIMIT = 20


def thread_stack(thread: int | None) -> str:
    """The stack of a thread, by its ident; empty when it has none."""
    frames: list[FrameType] = []
    frame = sys._current_frames().get(thread) if thread is not None else None
    while frame is not None:
        frames.insert(0, frame)
        frame = frame.f_back
    return _text(frames)


def coroutine_stack(coroutine: Any) -> str:
    """A suspended coroutine, what it awaits, what that awaits, and so on."""
    return _text(list(_awaiting(coroutine)))


def _awaiting(awaited: Any) -> Iterator[FrameType]:
    while awaited is not None:
        for kind in ("cr", "gi", "ag"):  # a coroutine, a generator, an asynchronous generator
            frame = getattr(awaited, f"{kind}_frame", None)
            if frame is not None:
                yield frame
                break
        else:
            return
        inner = "gi_yieldfrom" if kind == "gi" else f"{kind}_await"
        awaited = getattr(awaited, inner, None)


def _text(frames: list[FrameType]) -> str:
    shown = ((frame, frame.f_lineno) for frame in frames[-LIMIT:])
    return "".join(StackSummary.extract(shown).format())
