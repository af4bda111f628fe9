"""What follows the end of a message: a mark in its group, and the call that comes then.

``Call.meta`` has these keys: ``group``, the group whose member the message is; ``ended``, the group
whose callback it is; ``then``, the calls to come one after the other, each a row of ``Successor``;
``parent``, the id and the value of the message it came after.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from vtasks_asgi.core.envelope import (
    MAX_DECODED,
    Call,
    check_json,
    decode,
    encode,
    pack,
    unpack,
)
from vtasks_asgi.core.errors import MessageUndecodable, PayloadTooLarge
from vtasks_asgi.core.message import MAX_PRIORITY, MIN_PRIORITY, Message

GROUP, ENDED, THEN, PARENT = "group", "ended", "then", "parent"

#: When a callback is called: a key of the plan.
COMPLETE, SUCCESS, FAILURE = "complete", "success", "failure"

_NUMBER = (int, float)
_KINDS: dict[str, tuple[type, ...]] = {
    "task": (str,),
    "args": (list,),
    "kwargs": (dict,),
    "ttl": _NUMBER,
    "meta": (dict,),
    "exp": _NUMBER,
    "exp_in": _NUMBER,
    "queue": (str,),
    "priority": (int,),
    "run_at": _NUMBER,
    "unique": (str,),
    "keep": _NUMBER,
    "debounce": _NUMBER,
    "debounce_max": _NUMBER,
}

#: Levels of JSON around the arguments of a successor, and around a parent's value.
_AROUND = 4


@dataclass(slots=True)
class Follow:
    """What has to be stored before a message's own end is, so that a crash loses none of it.

    ``group`` is the group it is a member of, ``ended`` the one whose callback it is.
    """

    group: str | None = None
    ended: str | None = None
    then: Message | None = None


@dataclass(slots=True)
class Successor:
    """A call that is enqueued later: all of its message that is known by now.

    ``expires_in`` counts in seconds from when it is due, ``expires_at`` is in epoch seconds.
    """

    call: Call
    message: Message
    expires_in: float | None = None

    def row(self) -> dict[str, Any]:
        """As JSON, without what is the default.

        Raises:
            TypeError, ValueError: an argument is not plain JSON.
        """
        call, message = self.call, self.message
        check_json(call.args, "args", _AROUND)
        check_json(call.kwargs, "kwargs", _AROUND)
        row = {
            "task": call.task,
            "args": call.args,
            "kwargs": call.kwargs,
            "ttl": call.result_ttl,
            "meta": call.meta or None,
            "exp": None if self.expires_in else call.expires_at,
            "exp_in": self.expires_in,
            "queue": message.queue,
            "priority": message.priority or None,
            "run_at": message.run_at,
            "unique": message.unique,
            "keep": message.keep_unique,
            "debounce": message.debounce,
            "debounce_max": message.debounce_max,
        }
        return {name: value for name, value in row.items() if value is not None}


def derived_id(of: str, what: str) -> str:
    """The id of what follows ``of``: the same whoever makes it, and sorting near to it."""
    digits = sha256(f"{of} {what}".encode()).hexdigest()
    return of[:12] + digits[:20] if len(of) == 32 else digits[:32]


def message_of(row: Any, id: str, now: float, *, meta: Mapping[str, Any], max_size: int) -> Message:
    """The message of a successor's row, enqueued now.

    Raises:
        MessageUndecodable: it is no such row.
        PayloadTooLarge: it is over ``max_size`` bytes once encoded.
    """
    if not _is_row(row):
        raise MessageUndecodable("what comes after the message cannot be read")
    try:
        run_at, wait = row.get("run_at"), row.get("exp_in")
        expires = row.get("exp") if wait is None else max(now, run_at or now) + wait
        call = Call(row["task"], row["args"], row["kwargs"], now, row.get("ttl"))
        call.meta, call.expires_at = {**row.get("meta", {}), **meta}, expires
        message = Message(id, row["queue"], b"", row.get("priority", 0), run_at)
        message.unique, message.keep_unique = row.get("unique"), row.get("keep")
        message.debounce, message.debounce_max = row.get("debounce"), row.get("debounce_max")
        message.body = encode(call, max_size=max_size)
    except PayloadTooLarge:
        raise
    except (TypeError, ValueError) as error:
        raise MessageUndecodable("what comes after the message cannot be read") from error
    return message


def _is_row(row: Any) -> bool:
    """Whether each field is what it may be: a store must not stumble over one."""
    if type(row) is not dict or not row.keys() >= {"task", "args", "kwargs", "queue"}:
        return False
    if not all(type(row[name]) in kinds for name, kinds in _KINDS.items() if name in row):
        return False
    queue, key = row["queue"], row.get("unique", "-")
    return (
        0 < len(queue) <= 100
        and "\0" not in queue
        and MIN_PRIORITY <= row.get("priority", 0) <= MAX_PRIORITY
        and key.isascii()
        and 0 < len(key) <= 64
    )


def after_success(
    meta: Mapping[str, Any], id: str, value: Any, now: float, *, max_size: int
) -> Follow | None:
    """What follows a message that returned ``value``; None for nothing.

    Raises:
        TypeError, ValueError: the value is to be handed on, and is not plain JSON.
        PayloadTooLarge: with the value the next call is over ``max_size`` bytes once encoded.
        MessageUndecodable: what is to come cannot be read.
    """
    follow, rows = after_failure(meta), meta.get(THEN)
    if not rows:
        return follow
    if type(rows) is not list:
        raise MessageUndecodable("what comes after the message cannot be read")
    check_json(value, "the return value, which the next task gets,", _AROUND)
    more = {PARENT: [id, value], **({THEN: rows[1:]} if len(rows) > 1 else {})}
    follow = follow or Follow()
    follow.then = message_of(rows[0], derived_id(id, THEN), now, meta=more, max_size=max_size)
    return follow


def after_failure(meta: Mapping[str, Any]) -> Follow | None:
    """What follows a message that was given up on; None for nothing."""
    group, ended = group_of(meta, GROUP), group_of(meta, ENDED)
    return Follow(group, ended) if group or ended else None


def failure_of(body: bytes) -> Follow | None:
    """``after_failure`` of a message that nobody has decoded, or could."""
    try:
        return after_failure(decode(body).meta)
    except MessageUndecodable:
        return None


def group_of(meta: Mapping[str, Any], key: str) -> str | None:
    """The id of a group that a message names, if it is one."""
    id = meta.get(key)
    return id if type(id) is str and id.isascii() and 0 < len(id) <= 64 else None


@dataclass(frozen=True, slots=True)
class Parent:
    """The message that a task was enqueued after: its id, and what it returned."""

    id: str
    value: Any = field(repr=False)


def parent_of(meta: Mapping[str, Any]) -> Parent | None:
    """What a message knows of the one it came after, if there is one."""
    match meta.get(PARENT):
        case [str(id), value]:
            return Parent(id, value)
    return None


# -- the plan of a group


def encode_plan(callbacks: Mapping[str, Successor], *, max_size: int) -> bytes:
    """The callbacks of a group as stores keep them.

    Raises:
        TypeError, ValueError: an argument is not plain JSON.
        PayloadTooLarge: over ``max_size`` bytes encoded.
    """
    rows = {event: successor.row() for event, successor in callbacks.items()}
    return pack(rows, "the callbacks of the group", max_size=max_size) if rows else b""


def callbacks(id: str, plan: bytes, failed: int, now: float) -> list[Message]:
    """What to enqueue once a group is complete; a callback that cannot be read is none."""
    try:
        rows = unpack(plan) if plan else {}
    except MessageUndecodable:
        rows = {}
    messages = []
    for event in (COMPLETE, FAILURE if failed else SUCCESS):
        row = rows.get(event) if type(rows) is dict else None
        if row is not None:
            made, meta = derived_id(id, event), {ENDED: id}
            with suppress(MessageUndecodable, PayloadTooLarge):
                messages.append(message_of(row, made, now, meta=meta, max_size=MAX_DECODED))
    return messages


__all__ = ["Follow", "Parent", "Successor"]
