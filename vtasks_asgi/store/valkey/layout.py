"""What the stored values look like in bytes; docs/protocol.md describes them. Pure.

Whatever was damaged or written by strangers reads as a default: one value must never cost its
neighbours.
"""

import math
import struct
from dataclasses import dataclass

from vtasks_asgi.core.limits import Limit
from vtasks_asgi.store.valkey.tail import read_tail, tail

#: A message's place in ``ready`` is -priority * BAND + its sequence number: exact in a double.
BAND = 2**45
#: From here on a score in ``ready`` is that of a message in a line: its place is in its meta.
LINED = 2**52
#: ``run_at`` of a message that has none.
NEVER = -math.inf

STAMP = struct.Struct(">d")
_META = struct.Struct(">ddII")  # run_at, place, attempts before this claim, crashes; its tail
_PLACE = struct.Struct(">dII")  # a meta without run_at, which the server adds
_FIELDS = struct.Struct(">dIIB")  # place, attempt, crashes, kind; the rest depends on the kind
_LENGTH = struct.Struct(">H")

_DONE, _DONE_WITH_VALUE, _DEAD = 0, 1, 2
TOKEN = 16


def text(raw: bytes) -> str:
    """Text as stored by us, or whatever it is, reversibly."""
    return raw.decode("utf-8", "surrogateescape")


def texts(raws: list[bytes]) -> list[str]:
    """``text`` of each; all but damaged ones are ASCII, which is decoded in half the time."""
    try:
        return [raw.decode("ascii") for raw in raws]
    except UnicodeDecodeError:
        return [text(raw) for raw in raws]


def raw(text: str) -> bytes:
    """The bytes of a text."""
    return text.encode() if text.isascii() else text.encode("utf-8", "surrogateescape")


def name(text: str) -> bytes:
    """The bytes of a name of ours: any text at all."""
    return text.encode("utf-8", "surrogatepass")


def read_name(raw: bytes) -> str:
    """``name`` backwards."""
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace")


def priority_of(place: float) -> int:
    """The priority a place stands for, within what any message may have."""
    if not -200 * BAND < place < 200 * BAND:
        return 0
    return -(int(place) // BAND)


def _moment(at: float) -> float | None:
    """A time, None when it is none: NEVER, or damaged."""
    return at if math.isfinite(at) else None


@dataclass(slots=True)
class Meta:
    """What is kept of a message beside its body, only when it is not the default."""

    run_at: float | None = None
    place: float = 0.0
    attempt: int = 0
    crashes: int = 0
    unique: str | None = None
    limit: Limit | None = None


def read_meta(value: bytes | None) -> Meta:
    """A meta, or the default of a message that has none."""
    if value is None or len(value) < _META.size:
        return Meta()
    run_at, place, attempt, crashes = _META.unpack_from(value)
    unique, limit = read_tail(value[_META.size :])
    key = text(unique) if unique else None
    return Meta(_moment(run_at), place, attempt, crashes, key, limit)


def meta_rest(
    place: float, attempt: int, crashes: int, unique: str | None, limit: Limit | None = None
) -> bytes:
    """A meta to which the server adds ``run_at`` in front."""
    return _PLACE.pack(place, *_counts(attempt, crashes)) + tail(raw(unique or ""), limit)


def _counts(attempt: int, crashes: int) -> tuple[int, int]:
    if attempt >> 32 or crashes >> 32:  # too large, or negative
        return min(max(attempt, 0), 0xFFFFFFFF), min(max(crashes, 0), 0xFFFFFFFF)
    return attempt, crashes


@dataclass(slots=True)
class Own:
    """Who holds a message."""

    token: str = ""
    started_at: float | None = None
    worker: str | None = None
    place: float = 0.0


def read_own(value: bytes | None) -> Own:
    """An entry of ``own``; nobody when it is missing or damaged."""
    start = TOKEN + STAMP.size + _LENGTH.size
    if value is None or len(value) < start:
        return Own()
    (started,) = STAMP.unpack_from(value, TOKEN)
    (length,) = _LENGTH.unpack_from(value, TOKEN + STAMP.size)
    try:
        place = float(value[start + length :])
    except ValueError:
        place = 0.0
    return Own(
        text(value[:TOKEN]), _moment(started), read_name(value[start : start + length]), place
    )


@dataclass(slots=True)
class Finished:
    """What is kept of a message that has ended."""

    finished_at: float | None = None
    place: float = 0.0
    attempt: int = 0
    crashes: int = 0
    value: bytes | None = None
    reason: str | None = None


def done_fields(place: float, attempt: int, crashes: int, value: bytes | None) -> bytes:
    """The fields of a result; the server adds the time in front."""
    counts = _counts(attempt, crashes)
    if value is None:
        return _FIELDS.pack(place, *counts, _DONE)
    return _FIELDS.pack(place, *counts, _DONE_WITH_VALUE) + value


def dead_fields(
    place: float,
    attempt: int,
    crashes: int,
    reason: str,
    unique: str | None,
    limit: Limit | None = None,
) -> bytes:
    """The fields of a dead letter; the server adds the time in front."""
    why = name(reason)[:0xFFFF]
    head = _FIELDS.pack(place, *_counts(attempt, crashes), _DEAD)
    return head + _LENGTH.pack(len(why)) + why + tail(raw(unique or ""), limit)


def read_fields(value: bytes | None) -> Finished:
    """The fields of a finished message; defaults when they are missing or damaged."""
    start = STAMP.size + _FIELDS.size
    if value is None or len(value) < start:
        return Finished()
    (finished_at,) = STAMP.unpack_from(value)
    place, attempt, crashes, kind = _FIELDS.unpack_from(value, STAMP.size)
    found = Finished(_moment(finished_at), place, attempt, crashes)
    if kind == _DONE_WITH_VALUE:
        found.value = value[start:]
    elif kind == _DEAD and len(value) >= start + _LENGTH.size:
        (length,) = _LENGTH.unpack_from(value, start)
        start += _LENGTH.size
        found.reason = read_name(value[start : start + length])
    return found
