"""How a meta, and the fields of a dead letter, end: unique key and limit. Pure.

The limit stands behind a NUL, as text: how many may run, seconds between two starts (``-`` for
none), and its key. ``lua/lib_limits.lua`` reads the same.
"""

import math
import re

from vtasks_asgi.core.limits import Limit

_LIMIT = re.compile(rb"([0-9]{1,10}|-) ([0-9][0-9.e+-]{0,30}|-) ([\x01-\x7f]{1,64})", re.DOTALL)


def limit_text(limit: Limit | None) -> bytes:
    """A limit as text, empty for none."""
    if limit is None:
        return b""
    most = "-" if limit.concurrency is None else str(limit.concurrency)
    pace = "-" if limit.interval is None else repr(limit.interval)
    return f"{most} {pace} {limit.key}".encode()


def tail(unique: bytes, limit: Limit | None) -> bytes:
    """Both of them, as stored."""
    return unique if limit is None else b"%b\x00%b" % (unique, limit_text(limit))


def read_tail(value: bytes) -> tuple[bytes, Limit | None]:
    """``tail`` backwards; a limit that cannot be read is none."""
    unique, separator, text = value.partition(b"\x00")
    return unique, _read_limit(text) if separator else None


def _read_limit(text: bytes) -> Limit | None:
    match = _LIMIT.fullmatch(text)
    if match is None:
        return None
    try:
        most = None if match[1] == b"-" else int(match[1])
        pace = None if match[2] == b"-" else float(match[2])
    except ValueError:
        return None
    sound = (most is None or most >= 1) and (pace is None or 0.0 < pace < math.inf)
    if not sound or (most is None and pace is None):
        return None
    return Limit(match[3].decode("ascii"), most, pace)
