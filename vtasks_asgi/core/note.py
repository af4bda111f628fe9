"""A task's own note beside its message: how far it is, and what its next attempt begins with.

One line of JSON for the progress, then the checkpoint as ``envelope.pack`` made it: so that a
change of one never costs the other's encoding.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from vtasks_asgi.core.envelope import unpack
from vtasks_asgi.core.errors import MessageUndecodable

#: Characters of a progress message that are kept.
MAX_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task says it is: ``done`` of ``total``, in a unit of its own.

    ``total`` is None when it does not know.
    """

    done: float
    total: float | None = None
    message: str = ""

    def __post_init__(self) -> None:
        if not _is_amount(self.done):
            raise ValueError(f"done is {self.done!r}; it must be a number, 0 or more")
        if self.total is not None and not _is_amount(self.total):
            raise ValueError(f"total is {self.total!r}; it must be a number, 0 or more, or None")
        if not isinstance(self.message, str):
            raise ValueError(f"message is a {type(self.message).__name__}; it must be a text")

    @property
    def fraction(self) -> float | None:
        """From 0 to 1, None without a total."""
        if self.total is None:
            return None
        return min(self.done / self.total, 1.0) if self.total else 1.0


def _is_amount(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 2**63


@dataclass(slots=True)
class Note:
    """``saved`` is the checkpoint, packed; None when there is none."""

    progress: Progress | None = None
    saved: bytes | None = None


def encode_note(note: Note) -> bytes:
    """The note as stores keep it."""
    progress = note.progress
    line = b"null"
    if progress is not None:
        message = progress.message[:MAX_MESSAGE].encode("utf-8", "replace").decode()
        line = orjson.dumps([progress.done, progress.total, message])
    return line + b"\n" + (note.saved or b"")


def decode_note(raw: bytes | None) -> Note:
    """Read a note back; what is damaged counts as never written, for it must not cost a run."""
    line, _, saved = (raw or b"").partition(b"\n")
    progress = None
    try:
        match orjson.loads(line):
            case [done, total, message]:
                progress = Progress(done, total, message)
    except ValueError:  # orjson's, and that of a progress which is none
        pass
    return Note(progress, saved or None)


def load_saved(note: Note) -> Any:
    """The checkpoint, None when there is none or it is damaged."""
    if note.saved is None:
        return None
    try:
        return unpack(note.saved)
    except MessageUndecodable:
        return None
