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

VERSION = 1
COMPRESS_ABOVE = 1024
MAX_ENCODED = 1024 * 1024
MAX_DECODED = 8 * 1024 * 1024
MAX_DEPTH = 64
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

_SCALARS = frozenset({str, bool, type(None)})
_MAX_INT = 2**63 - 1


@dataclass(slots=True)
class Call:
    """What to run, with what: the contents of a message's body.

    ``enqueued_at`` is in seconds since the epoch; ``result_ttl`` in seconds, None for the
    backend's default, 0 for "keep no result". ``meta`` is free for tracing and the like.
    """

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    enqueued_at: float
    result_ttl: float | None = None
    meta: dict[str, Any] = field(default_factory=dict)


def encode(call: Call, *, max_size: int = MAX_ENCODED) -> bytes:
    """Turn a call into bytes.

    Raises:
        TypeError: an argument is not plain JSON; the message names which.
        ValueError: an argument is NaN, infinite, too deep or an integer over 64 bits.
        PayloadTooLarge: the encoded call is over ``max_size`` bytes.
    """
    check_json(call.args, "args")
    check_json(call.kwargs, "kwargs")
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
    return pack(fields, f"the arguments of {call.task}", max_size=max_size)


def decode(body: bytes) -> Call:
    """Read a call back.

    Raises:
        MessageUndecodable: the body is damaged, hostile, or of a version this code does not know.
    """
    fields = unpack(body)
    try:
        if fields["v"] != VERSION:
            raise MessageUndecodable(f"envelope version {fields['v']!r} is not {VERSION}")
        call = Call(
            fields["task"],
            fields["args"],
            fields["kwargs"],
            fields["at"],
            fields.get("ttl"),
            fields.get("meta") or {},
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
    ):
        raise MessageUndecodable("a field of the envelope has the wrong type")
    return call


def pack(value: Any, what: str, *, max_size: int) -> bytes:
    """JSON bytes of a checked value, compressed when that pays, never over ``max_size``."""
    try:
        raw = orjson.dumps(value)
    except TypeError as error:  # lone surrogates, integers over 64 bits
        raise TypeError(f"{what}: {error}") from error
    if len(raw) > MAX_DECODED:
        raise PayloadTooLarge(f"{what}: {len(raw)} bytes of JSON, the limit is {MAX_DECODED}")
    if len(raw) > COMPRESS_ABOVE:
        raw = zstandard.compress(raw)
    if len(raw) > max_size:
        raise PayloadTooLarge(
            f"{what}: {len(raw)} bytes encoded, the limit is {max_size} (OPTIONS['MAX_PAYLOAD'])."
            " Store the data elsewhere and pass its key."
        )
    return raw


def unpack(raw: bytes) -> Any:
    """The value ``pack`` was given.

    Raises:
        MessageUndecodable: not JSON, not zstd, or larger than the caps.
    """
    if len(raw) > MAX_DECODED:
        raise MessageUndecodable(f"{len(raw)} bytes, the limit is {MAX_DECODED}")
    try:
        if raw[:4] == ZSTD_MAGIC:
            raw = _decompress(raw)
        return orjson.loads(raw)
    except (zstandard.ZstdError, orjson.JSONDecodeError) as error:
        raise MessageUndecodable(f"not an envelope: {error}") from error


def _decompress(raw: bytes) -> bytes:
    # The frame's own claim of its size is not trusted: reading stops one byte past the cap.
    with zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(raw) as reader:
        plain = reader.read(MAX_DECODED + 1)
    if len(plain) > MAX_DECODED:
        raise MessageUndecodable(f"decompresses to more than {MAX_DECODED} bytes")
    return plain


def check_json(value: Any, where: str, depth: int = 0) -> None:
    """Refuse what JSON would change or lose on the way: bytes, UUIDs, dates, NaN, int keys.

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
    elif kind is list or kind is tuple:
        for index, item in enumerate(value):
            if type(item) not in _SCALARS:
                check_json(item, f"{where}[{index}]", depth + 1)
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f"{where} has the key {key!r}; JSON keys are strings")
            if type(item) not in _SCALARS:
                check_json(item, f"{where}[{key!r}]", depth + 1)
    else:
        raise TypeError(
            f"{where} is a {kind.__qualname__}, which is not JSON-serialisable;"
            " pass an id, a string or a number instead"
        )
