"""The versioned envelope: a call as bytes, and back.

JSON (orjson), compressed with zstd above 1 KiB. Both directions are capped, so neither a huge
argument nor a decompression bomb can hurt the process. Nothing here names code to import.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import orjson
import zstandard

from vtasks_asgi.core.errors import MessageUndecodable, PayloadTooLarge

#: Fields may be added without a new version: who does not know one ignores it.
VERSION = 1
COMPRESS_ABOVE = 1024
MAX_ENCODED = 1024 * 1024
MAX_DECODED = 8 * 1024 * 1024
MAX_DEPTH = 64
#: Levels of lists and objects in JSON that is read: the value's own, its first, the envelope's.
MAX_NESTING = MAX_DEPTH + 2
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

#: Decompressors nobody uses now: making one costs five times what using it does, and two threads
#: may not use one at once.
_idle: list[zstandard.ZstdDecompressor] = []

_SCALARS = frozenset({str, bool, type(None)})
_MAX_INT = 2**63 - 1


@dataclass(slots=True)
class Call:
    """What to run, with what: the contents of a message's body.

    ``enqueued_at`` is in seconds since the epoch; ``result_ttl`` in seconds, None for the
    backend's default, 0 for "keep no result". ``meta`` is free for tracing and the like.
    ``expires_at``, in seconds since the epoch, is when it is too late to start, None for never.
    """

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    enqueued_at: float
    result_ttl: float | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    expires_at: float | None = None


def encode(call: Call, *, max_size: int = MAX_ENCODED) -> bytes:
    """Turn a call into bytes.

    Raises:
        TypeError: an argument is not plain JSON; the message names which.
        ValueError: an argument is NaN, infinite, too deep or an integer over 64 bits.
        PayloadTooLarge: the encoded call is over ``max_size`` bytes.
    """
    if call.args:
        _check_array(call.args, "args", 0)
    if call.kwargs:
        _check_object(call.kwargs, "kwargs", 0)
    fields: dict[str, Any] = {
        "v": VERSION,
        "task": call.task,
        "args": call.args,
        "kwargs": call.kwargs,
        "at": call.enqueued_at,
    }
    if call.result_ttl is not None:
        fields["ttl"] = call.result_ttl
    if call.meta:
        fields["meta"] = call.meta
    if call.expires_at is not None:
        fields["exp"] = call.expires_at
    return pack(fields, f"the arguments of {call.task}", max_size=max_size)


def decode(body: bytes) -> Call:
    """Read a call back.

    Raises:
        MessageUndecodable: the body is damaged, hostile, or of a version this code does not know.
    """
    fields = unpack(body)
    try:
        _check_version(fields["v"])
        call = Call(
            fields["task"],
            fields["args"],
            fields["kwargs"],
            fields["at"],
            fields.get("ttl"),
            fields.get("meta") or {},
            fields.get("exp"),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise MessageUndecodable("the envelope lacks a field, or is no object") from error
    if not (
        type(call.task) is str
        and type(call.args) is list
        and type(call.kwargs) is dict
        and type(call.enqueued_at) in (int, float)
        and type(call.result_ttl) in (int, float, type(None))
        and type(call.meta) is dict
        and type(call.expires_at) in (int, float, type(None))
    ):
        raise MessageUndecodable("a field of the envelope has the wrong type")
    return call


def task_of(body: bytes) -> str:
    """The name of the task in a body, empty when that cannot be read."""
    try:
        return decode(body).task
    except MessageUndecodable:
        return ""


def _check_version(version: Any) -> None:
    if type(version) is not int:
        raise MessageUndecodable("the envelope's version is not a number")
    if version != VERSION:
        raise MessageUndecodable(f"envelope version {version} is not {VERSION}")


def pack(value: Any, what: str, *, max_size: int) -> bytes:
    """JSON bytes of a value checked by ``check_json``, compressed when over 1 KiB.

    Raises:
        TypeError: what only the encoder notices, such as lone surrogates; names ``what``.
        PayloadTooLarge: over ``max_size`` bytes encoded, or over ``MAX_DECODED`` bytes of JSON.
    """
    try:
        raw = orjson.dumps(value)
    except TypeError as error:  # lone surrogates, integers over 64 bits
        raise TypeError(f"{what}: {error}") from error
    if len(raw) > MAX_DECODED:
        raise PayloadTooLarge(
            f"{what}: {len(raw)} bytes of JSON, the limit is {MAX_DECODED}."
            " Store the data elsewhere and pass its key."
        )
    if len(raw) > COMPRESS_ABOVE:
        raw = zstandard.compress(raw)
    if len(raw) > max_size:
        raise PayloadTooLarge(
            f"{what}: {len(raw)} bytes encoded, the limit is {max_size} (OPTIONS['MAX_PAYLOAD'])."
            " Store the data elsewhere and pass its key."
        )
    return raw


def unpack(raw: bytes) -> Any:
    """The value ``pack`` was given. Of duplicate keys in an object the last one wins.

    Raises:
        MessageUndecodable: not JSON, not zstd, cut off, or larger or deeper than the caps.
    """
    if len(raw) > MAX_DECODED:
        raise MessageUndecodable(f"{len(raw)} bytes, the limit is {MAX_DECODED}")
    try:
        if raw.startswith(ZSTD_MAGIC):
            raw = _decompress(raw)
        value = orjson.loads(raw)
    except (zstandard.ZstdError, orjson.JSONDecodeError) as error:
        raise MessageUndecodable(f"not an envelope: {error}") from error
    # Counting is cheap and seldom high enough to make the walk worth it.
    if raw.count(b"[") + raw.count(b"{") > MAX_NESTING:
        _check_nesting(value)
    return value


def _decompress(raw: bytes) -> bytes:
    # decompress() makes a buffer of the size the frame claims, so the claim is checked before;
    # a frame that claims less than it holds, or nothing (-1), fails at the end of its buffer.
    if zstandard.frame_content_size(raw) > MAX_DECODED:
        raise MessageUndecodable(f"decompresses to more than {MAX_DECODED} bytes")
    try:
        reader = _idle.pop()
    except IndexError:
        reader = zstandard.ZstdDecompressor(max_window_size=MAX_DECODED)
    try:
        return reader.decompress(raw, max_output_size=MAX_DECODED, allow_extra_data=False)
    finally:
        _idle.append(reader)


def _check_nesting(value: Any) -> None:
    level = [value]
    for _ in range(MAX_NESTING):
        level = [inner for outer in level for inner in _containers(outer)]
        if not level:
            return
    raise MessageUndecodable(f"nested deeper than {MAX_NESTING} levels")


def _containers(value: Any) -> list[Any]:
    items = value.values() if type(value) is dict else value if type(value) is list else ()
    return [item for item in items if type(item) is list or type(item) is dict]


def check_json(value: Any, where: str, depth: int = 0) -> None:
    """Refuse what JSON would change or lose on the way: bytes, UUIDs, dates, NaN, int keys.

    Tuples travel as lists, and subclasses of str, int, list and dict (a template's SafeString, a
    TextChoices member) as what they are based on.

    Raises:
        TypeError, ValueError: naming the place, such as ``kwargs['user']``.
    """
    kind = type(value)
    if kind in _SCALARS:
        return
    if kind is int:
        if not -_MAX_INT - 1 <= value <= _MAX_INT:
            raise ValueError(f"{where} is an integer over 64 bits; pass it as a string")
    elif kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value!r}, which JSON cannot carry")
    elif depth > MAX_DEPTH:
        raise ValueError(f"{where} is nested deeper than {MAX_DEPTH} levels")
    elif kind is dict:
        _check_object(value, where, depth)
    elif kind is list or kind is tuple:
        _check_array(value, where, depth)
    else:
        _check_based(value, where, depth)


# The common cases are passed here, where no path to the place has to be written.


def _check_array(value: list[Any] | tuple[Any, ...], where: str, depth: int) -> None:
    for index, item in enumerate(value):
        kind = type(item)
        if kind in _SCALARS or (kind is int and -_MAX_INT <= item <= _MAX_INT):
            continue
        check_json(item, f"{where}[{index}]", depth + 1)


def _check_object(value: dict[Any, Any], where: str, depth: int) -> None:
    for key, item in value.items():
        if type(key) is not str:
            raise TypeError(f"{where} has the key {key!r}; JSON keys are strings")
        kind = type(item)
        if kind in _SCALARS or (kind is int and -_MAX_INT <= item <= _MAX_INT):
            continue
        check_json(item, f"{where}[{key!r}]", depth + 1)


def _check_based(value: Any, where: str, depth: int) -> None:
    """Subclasses are checked as what they are based on; anything else is refused."""
    if isinstance(value, str):
        return
    if isinstance(value, int):
        check_json(int(value), where, depth)
    elif isinstance(value, list):
        check_json(list(value), where, depth)
    elif isinstance(value, dict):
        check_json(dict(value), where, depth)
    else:
        raise TypeError(
            f"{where} is a {type(value).__qualname__}, which is not JSON-serialisable;"
            " pass an id, a string or a number instead"
        )
