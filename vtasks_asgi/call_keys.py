"""Options whose value is a text, or a function of a call's arguments that returns one."""

from collections.abc import Callable
from typing import Any

from django.tasks.exceptions import InvalidTask

from vtasks_asgi.core.envelope import Call

#: A text, or a function of the call's arguments that returns one.
type CallKey = str | Callable[..., str]


def problem(option: str, key: object) -> str | None:
    """What is wrong with the option's value, and the fix; None when nothing is."""
    if key is None or callable(key) or (isinstance(key, str) and key):
        return None
    return f"{option} must be a text, or a function of the task's arguments returning one"


def text_of(option: str, key: Any, call: Call) -> str:
    """The text for this call.

    Raises:
        InvalidTask: the option's function did not return one.
    """
    text: object = key(*call.args, **call.kwargs) if callable(key) else key
    if not isinstance(text, str) or not text:
        name = "an empty one" if text == "" else type(text).__qualname__
        raise InvalidTask(f"{call.task}: its {option} returned {name}, not a text")
    return text
