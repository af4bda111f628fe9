"""How commands read and write durations, times and tables."""

import math
import re
from argparse import ArgumentTypeError
from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from vtasks_asgi.conf import time_zone

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def duration(text: str) -> float:
    """Seconds, from ``90s``, ``10m``, ``1h30m`` or ``2d``.

    Raises:
        ArgumentTypeError: it is none of these, or no time at all.
    """
    seconds = 0.0
    if _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if not 0 < seconds < math.inf:
        raise ArgumentTypeError(f"{text!r} is no duration; write 90s, 10m, 1h30m or 2d")
    return seconds


def age(seconds: float | None) -> str:
    """A rough length of time; a dash for none."""
    if seconds is None:
        return "-"
    for unit, least in (("d", 2 * 86400), ("h", 2 * 3600), ("m", 120), ("s", 0)):
        if seconds >= least:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return "0s"


def moment(at: float | None) -> str | None:
    """Epoch seconds in ISO 8601, in the project's time zone; None for never."""
    if at is None or not math.isfinite(at):
        return None
    utc = datetime.fromtimestamp(at, UTC)
    return utc.astimezone(ZoneInfo(time_zone())).isoformat(timespec="seconds")


def until(at: float | None) -> str:
    """When something that is paused goes on."""
    return f"until {moment(at)}" if at is not None else "until it is resumed"


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns beside each other, numbers to the right."""
    cells = [list(map(str, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    right = [bool(rows) and all(type(row[i]) is int for row in rows) for i in range(len(heads))]
    lines = [
        "  ".join(
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in (heads, *cells)
    ]
    return "\n".join(lines)
