"""What is wrong with a task's options: told where they are written, with the fix."""

import math
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.tasks import Task
from django.utils.module_loading import import_string

from vtasks_asgi.conf import use_tz
from vtasks_asgi.core.envelope import check_json
from vtasks_asgi.core.retry import Backoff

if TYPE_CHECKING:
    from vtasks_asgi.tasks import VTask

_KINDS = ("retry_on", "dont_retry_on")


def problem(task: "VTask[Any, Any]") -> str | None:
    """The first thing that is wrong, if any."""
    return next(_problems(task), None)


def _problems(task: "VTask[Any, Any]") -> Iterator[str]:
    backoff: Any = task.backoff
    if not (isinstance(backoff, Backoff) or callable(backoff)):
        yield (
            "backoff must be a Backoff, such as Backoff(base=5, factor=3), or a function of the"
            " number of failed attempts and the last error that returns seconds"
        )
    for option in _KINDS:
        if (kinds := getattr(task, option)) is not None:
            yield from _wrong_kinds(option, kinds)
    if task.timeout is not None and not _is_time(task.timeout):
        yield "timeout must be a number of seconds, more than 0"
    yield from _wrong_expiry(task.expires)
    if task.metadata is not None:
        yield from _wrong_metadata(task.metadata)
    if problem := not_callable("then", task.then):
        yield problem


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


def _wrong_kinds(option: str, kinds: Any) -> Iterator[str]:
    if not isinstance(kinds, tuple):
        yield f"{option} must be a tuple of exception classes, such as (ConnectionError,)"
        return
    for kind in kinds:
        if isinstance(kind, str):
            if "." not in kind or not all(part.isidentifier() for part in kind.split(".")):
                yield f"{option} has {kind!r}, which is no dotted path of an exception class"
        elif not (isinstance(kind, type) and issubclass(kind, BaseException)):
            yield f"{option} has {kind!r}, which is no exception class, nor a dotted path of one"


def _wrong_expiry(expires: Any) -> Iterator[str]:
    if isinstance(expires, datetime):
        if use_tz() and expires.tzinfo is None:
            yield "expires must be an aware datetime"
    elif expires is not None and not _is_time(expires):
        yield "expires must be a number of seconds, more than 0, or a datetime"


def not_callable(option: str, call: Any) -> str | None:
    """What is wrong with a call that is to come later, None when nothing is."""
    if call is None or call == () or isinstance(call, Task):
        return None
    match call:
        case (Task(), list() | tuple(), dict()):
            return None
    return f"{option} must be a task, or a call of one such as report.item(5), not {call!r}"


def _wrong_metadata(metadata: Any) -> Iterator[str]:
    if not isinstance(metadata, dict):
        yield f"metadata must be a dict, not a {type(metadata).__name__}"
        return
    try:
        check_json(metadata, "metadata")
    except (TypeError, ValueError) as error:
        yield str(error)


def unknown_kinds(task: "VTask[Any, Any]") -> Iterator[str]:
    """What is wrong with dotted paths of exceptions; they are imported to find out."""
    for option in _KINDS:
        for kind in getattr(task, option) or ():
            if not isinstance(kind, str):
                continue
            where = f"{task.module_path}: {option} names {kind!r}"
            try:
                found = import_string(kind)
            except ImportError as error:
                yield f"{where}: {error}"
            else:
                if not (isinstance(found, type) and issubclass(found, BaseException)):
                    yield f"{where}, which is no exception class"
