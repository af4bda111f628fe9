"""What became of a claim. ``core.retry`` decides, ``Store.settle`` records."""

from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from vtasks_asgi.core.follow import Follow

#: Dead-letter reasons. Free text may follow in ``Dead.detail``, never in ``Dead.reason``.
EXHAUSTED = "max_attempts"
WORKER_LOST = "worker_lost"
UNDECODABLE = "undecodable"
RESULT_UNSERIALISABLE = "result_unserialisable"
NOT_RETRYABLE = "not_retryable"
DISCARDED = "discarded"
EXPIRED = "expired"
ARGUMENTS = "arguments"
CANCELLED = "cancelled"


@dataclass(slots=True)
class Attempt:
    """One run of a message: who, when (seconds since the epoch), and how it failed, if it did.

    ``error`` is the dotted path of the exception's class, ``traceback`` its text without locals.
    """

    worker: str
    started_at: float
    error: str | None = None
    traceback: str | None = None


@dataclass(slots=True)
class Done:
    """It returned. ``value`` is the packed return value; ``ttl`` 0 keeps no result.

    ``recorded``: it is settled already, in the task's own transaction. ``follow`` is stored before.
    """

    history: bytes
    value: bytes | None = None
    ttl: float = 0.0
    recorded: bool = False
    follow: Follow | None = None


@dataclass(slots=True)
class Retry:
    """Run it again ``delay`` seconds from now, by the store's clock."""

    history: bytes
    delay: float
    follow: ClassVar[None] = None


@dataclass(slots=True)
class Release:
    """Put it back as it was: the attempt does not count. ``delay`` in seconds."""

    delay: float = 0.0
    follow: ClassVar[None] = None


@dataclass(slots=True)
class Dead:
    """Give up on it: a dead letter with its reason. ``follow`` is stored before."""

    history: bytes
    reason: str
    follow: Follow | None = None


Outcome = Done | Retry | Release | Dead


def dump_history(attempts: list[Attempt]) -> bytes:
    """Attempts as compact JSON, the form in which every store keeps them.

    Text that is not Unicode (lone surrogates, as in undecodable file names) is escaped.
    """
    rows = [
        [a.worker, a.started_at]
        if a.error is None
        else [a.worker, a.started_at, a.error, a.traceback]
        for a in attempts
    ]
    try:
        return orjson.dumps(rows)
    except TypeError:
        return orjson.dumps([[_escaped(item) for item in row] for row in rows])


def _escaped(item: Any) -> Any:
    if isinstance(item, str):
        return item.encode("utf-8", "backslashreplace").decode()
    return item


def load_history(raw: bytes | None) -> list[Attempt]:
    """Read attempts back; damaged history is dropped, for it must never cost the message."""
    try:
        rows: Any = orjson.loads(raw) if raw else []
        attempts = [Attempt(*row) for row in rows]
    except (orjson.JSONDecodeError, TypeError):
        return []
    return attempts if all(map(_sound, attempts)) else []


def _sound(attempt: Attempt) -> bool:
    texts = (type(attempt.error), type(attempt.traceback))
    return (
        type(attempt.worker) is str
        and type(attempt.started_at) in (int, float)
        and all(kind in (str, type(None)) for kind in texts)
    )
