"""How a setting's raw value, from code or the environment, becomes a good one or a ValueError.

The error says what the value must be; who calls puts the setting's name before it.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import orjson

from vtasks_asgi.core.batch import Batch


class Queue(NamedTuple):
    """One queue as ``VTASKS_QUEUES`` has it."""

    slots: int | None = None
    batch: Batch | None = None


def whole(raw: Any, *, least: int) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int | str):
        raise ValueError(f"must be a whole number of at least {least}")
    try:
        number = int(raw)
    except ValueError:
        raise ValueError(f"must be a whole number of at least {least}") from None
    if number < least:
        raise ValueError(f"must be a whole number of at least {least}")
    return number


def seconds(raw: Any, *, least: float) -> float:
    try:
        number = float(raw) if not isinstance(raw, bool) else -1.0
    except (TypeError, ValueError):
        number = -1.0
    if not least <= number < 1e9:
        raise ValueError(f"must be a number of seconds, at least {least:g}")
    return number


def flag(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    words = {"1": True, "true": True, "yes": True, "on": True}
    words |= {"0": False, "false": False, "no": False, "off": False}
    try:
        return words[str(raw).strip().lower()]
    except KeyError:
        raise ValueError("must be True or False") from None


def optional[T](parse: Callable[[Any], T], raw: Any) -> T | None:
    return None if raw is None or raw == "" else parse(raw)


def text(raw: Any) -> str:
    if not isinstance(raw, str) or not raw:
        raise ValueError("must be a non-empty string")
    return raw


def word(raw: Any, *, choices: tuple[str, ...]) -> str:
    word = {True: "on", False: "off"}.get(raw, raw) if isinstance(raw, bool) else raw
    if word not in choices:
        raise ValueError(f"must be one of {', '.join(choices)}")
    return str(word)


def path(raw: Any) -> str:
    path = text(raw)
    if not path.startswith("/") or (path != "/" and path.endswith("/")):
        raise ValueError("must start with a slash and not end with one, or be None")
    return path


def names(raw: Any) -> tuple[str, ...]:
    if isinstance(raw, str):
        raw = [part.strip() for part in raw.split(",") if part.strip()]
    if not isinstance(raw, list | tuple | set) or not all(isinstance(n, str) and n for n in raw):
        raise ValueError("must be a list of names")
    return tuple(raw)


def _json(raw: str) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON: {error}") from None


def queues(raw: Any) -> dict[str, Queue]:
    if isinstance(raw, str) and raw.lstrip().startswith(("{", "[")):
        raw = _json(raw)
    if not isinstance(raw, dict):
        raw = {name: {} for name in names(raw)}
    if not raw:
        raise ValueError("must name at least one queue")
    return {_queue_name(name): _queue(f"[{name!r}]", options) for name, options in raw.items()}


def _queue_name(name: Any) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= 100:
        raise ValueError(f"has the queue name {name!r}; a name is a string of 1 to 100 characters")
    return name


def _queue(where: str, options: Any) -> Queue:
    _check_options(where, options, {"worker_concurrency": 5}, "batch")
    slots = _option(
        where, options, "worker_concurrency", partial(optional, partial(whole, least=1))
    )
    batch = options.get("batch")
    return Queue(slots, None if batch is None else _batch(f"{where}['batch']", batch))


def batches(raw: Any) -> dict[str, Batch]:
    raw = _json(raw) if isinstance(raw, str) else raw
    if not isinstance(raw, dict):
        raise ValueError("must be a dict of queues")
    return {_queue_name(name): _batch(f"[{name!r}]", options) for name, options in raw.items()}


def _batch(where: str, options: Any) -> Batch:
    _check_options(where, options, {"count": 100, "timeout": 5.0}, "task", "min_count", "split")
    number = partial(whole, least=1)
    count = _option(where, options, "count", number)
    timeout = _option(where, options, "timeout", partial(seconds, least=0.0))
    task = _option(where, options, "task", partial(optional, text))
    min_count = _option(where, options, "min_count", number, default=1)
    split = _option(where, options, "split", flag, default=True)
    try:
        return Batch(count, timeout, task, min_count, split)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _option[T](
    where: str, options: Any, name: str, parse: Callable[[Any], T], *, default: Any = None
) -> T:
    try:
        return parse(options.get(name, default))
    except ValueError as error:
        raise ValueError(f"{where}[{name!r}] {error}") from None


def _check_options(where: str, options: Any, example: dict[str, Any], *more: str) -> None:
    if not isinstance(options, dict):
        raise ValueError(f"{where} must be a dict such as {example}")
    known = (*example, *more)
    for key in options:
        if key not in known:
            raise ValueError(f"{where} has the unknown option {key!r}; use {', '.join(known)}")


def prefix(raw: Any) -> str:
    if not isinstance(raw, str) or not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", raw):
        raise ValueError("must be 1 to 64 letters, digits or any of _ . : -")
    return raw if raw.endswith(":") else f"{raw}:"


def schedule(raw: Any) -> dict[str, Any]:
    raw = _json(raw) if isinstance(raw, str) else raw
    if not isinstance(raw, dict):
        raise ValueError("must be a dict of schedule entries")
    return raw
