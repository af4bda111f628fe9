"""Ticks as requests. The last ticks and a queue are in different slots of a cluster, so there are
three steps: record the tick and the intent to push; push, unless that was done; forget the intent.

Each step is atomic, and the second may be done again by anybody: it compares with the queue's own
record. So a process that dies in between loses no tick and doubles none.
"""

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from vtasks_asgi.core.limits import Limit
from vtasks_asgi.core.message import Message
from vtasks_asgi.store.base import Ticks
from vtasks_asgi.store.valkey import layout
from vtasks_asgi.store.valkey.commands import ask, number, parcels, push
from vtasks_asgi.store.valkey.keys import Names
from vtasks_asgi.store.valkey.scripts import script
from vtasks_asgi.store.valkey.wire import Request

TICK, TICKED, TICKS = script("tick"), script("ticked"), script("ticks")

#: Seconds after which whoever is at it must have died, or been held up.
LEFT_BEHIND = 2.0

_HEAD = struct.Struct(">dI")


def intent(at: float, message: Message) -> bytes:
    """A tick's message, to be pushed by whoever finds it.

    Raises:
        TypeError: the body is no bytes.
    """
    parcels([message])
    row = (message.id, message.queue, message.priority, message.run_at, message.unique)
    kept = (message.keep_unique, message.debounce, message.debounce_max)
    head = orjson.dumps([*row, *kept, message.limit, message.line])
    return _HEAD.pack(at, len(head)) + head + message.body


def read_intent(value: bytes) -> tuple[float, Message] | None:
    """What was intended, None when that is unreadable."""
    try:
        at, length = _HEAD.unpack_from(value, layout.STAMP.size)
        start = layout.STAMP.size + _HEAD.size
        row = orjson.loads(value[start : start + length])
        id, queue, *rest = row
        message = Message(id, queue, value[start + length :], *rest[:6])
        if rest[6:] and rest[6] is not None:
            message.limit = Limit(**rest[6])
        if rest[7:]:
            message.line = rest[7]
        parcels([message])
    except (struct.error, ValueError, TypeError, AttributeError):
        return None
    return (at, message) if math.isfinite(at) and isinstance(queue, str) else None


def record(names: Names, schedule: str, at: float, message: Message | None) -> Request:
    wanted = b"" if message is None else intent(at, message)
    return ask(names.ticks, TICK, layout.name(schedule), number(at), wanted)


def fire(names: Names, schedule: str, at: float, message: Message) -> Request:
    tick = number(at) + b" " + layout.name(schedule)
    return push(names.queue(message.queue), parcels([message]), tick)


def forget(names: Names, schedule: bytes, value: bytes) -> Request:
    return ask(names.ticks, TICKED, schedule, value[8:16])


def stamped(at: float) -> bytes:
    """What ``forget`` needs of an intent: the time it was noted does not matter."""
    return bytes(8) + layout.STAMP.pack(at)


def read(names: Names, schedules: Sequence[str]) -> Request:
    return ask(names.ticks, TICKS, number(LEFT_BEHIND), *map(layout.name, schedules))


def known(schedules: Sequence[str], reply: list[Any]) -> Ticks:
    now, last, _ = reply
    pairs = zip(schedules, last, strict=True)
    return Ticks(float(now), {name: float(at) for name, at in pairs if at is not None})


def left_behind(reply: list[Any]) -> Iterator[tuple[bytes, bytes]]:
    """Schedule and intent of each one left behind."""
    left = reply[2]
    yield from zip(left[::2], left[1::2], strict=True)
