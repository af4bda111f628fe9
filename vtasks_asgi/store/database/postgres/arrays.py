"""Parameters that carry many values at once, in PostgreSQL's binary format for arrays.

psycopg's own list dumpers cost several microseconds an element, which would be most of the cost of
a message; joining bytes costs a tenth of that.
"""

from collections.abc import Iterable, Sequence
from struct import Struct

from psycopg.abc import Buffer, PyFormat
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import Format

_HEADER = Struct("!iiIii").pack  # dimensions, are there NULLs, element type, length, lower bound
_EMPTY = Struct("!iiI").pack
_LENGTH = Struct("!i").pack
_FLOAT = Struct("!id").pack
_NULL = _LENGTH(-1)
_LENGTH_8 = _LENGTH(8)


class Array(bytes):
    """An encoded array; the subclass is its type. Type numbers are those of ``pg_type.dat``."""

    element: int
    oid: int


class Int8s(Array):
    element, oid = 20, 1016


class Texts(Array):
    element, oid = 25, 1009


class Byteas(Array):
    element, oid = 17, 1001


class Float8s(Array):
    element, oid = 701, 1022


def _array[A: Array](kind: type[A], count: int, *parts: bytes) -> A:
    if not count:
        return kind(_EMPTY(0, 0, kind.element))
    return kind(b"".join((_HEADER(1, 1, kind.element, count, 1), *parts)))


def int8s(values: Sequence[int]) -> Int8s:
    """An ``int8[]``."""
    encoded = [value.to_bytes(8, "big", signed=True) for value in values]
    return _array(Int8s, len(encoded), _LENGTH_8, _LENGTH_8.join(encoded))


def int8s_or_null(values: Sequence[int | None]) -> Int8s:
    """An ``int8[]`` in which some are NULL, or all."""
    parts = [
        _NULL if value is None else _LENGTH_8 + value.to_bytes(8, "big", signed=True)
        for value in values
    ]
    return _array(Int8s, len(parts), *parts)


def texts(values: Iterable[str | None]) -> Texts:
    """A ``text[]``.

    Raises:
        UnicodeEncodeError: a value holds a lone surrogate.
    """
    parts: list[bytes] = []
    for value in values:
        if value is None:
            parts += (_NULL, b"")
        else:
            encoded = value.encode()
            parts += (_LENGTH(len(encoded)), encoded)
    return _array(Texts, len(parts) // 2, *parts)


def byteas(values: Iterable[bytes | None]) -> Byteas:
    """A ``bytea[]``."""
    parts: list[bytes] = []
    for value in values:
        if value is None:
            parts += (_NULL, b"")
        else:
            parts += (_LENGTH(len(value)), value)
    return _array(Byteas, len(parts) // 2, *parts)


def float8s(values: Iterable[float | None]) -> Float8s:
    """A ``float8[]``."""
    parts = [_NULL if value is None else _FLOAT(8, value) for value in values]
    return _array(Float8s, len(parts), *parts)


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> Buffer | None:
        return obj

    def get_key(self, obj: Array, format: PyFormat) -> type:
        return type(obj)


class _Int8sDumper(_ArrayDumper):
    oid = Int8s.oid


class _TextsDumper(_ArrayDumper):
    oid = Texts.oid


class _ByteasDumper(_ArrayDumper):
    oid = Byteas.oid


class _Float8sDumper(_ArrayDumper):
    oid = Float8s.oid


def register(adapters: AdaptersMap) -> None:
    """Teach a connection or a cursor to send these arrays."""
    adapters.register_dumper(Int8s, _Int8sDumper)
    adapters.register_dumper(Texts, _TextsDumper)
    adapters.register_dumper(Byteas, _ByteasDumper)
    adapters.register_dumper(Float8s, _Float8sDumper)
