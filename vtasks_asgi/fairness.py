"""What ``fair_key`` means: checked where it is written, a line at enqueue."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.tasks.exceptions import InvalidTask

from vtasks_asgi.core.envelope import Call
from vtasks_asgi.core.line import line_of
from vtasks_asgi.core.message import Message

if TYPE_CHECKING:
    from vtasks_asgi.tasks import VTask

#: A text, or a function of the call's arguments that returns one.
type FairKey = str | Callable[..., str]


def problem(task: "VTask[Any, Any]") -> str | None:
    """What is wrong with the option of this task, and the fix; None when nothing is."""
    key: object = task.fair_key
    if key is None or callable(key) or (isinstance(key, str) and key):
        return None
    return "fair_key must be a text, or a function of the task's arguments returning one"


def mark(message: Message, task: Any, call: Call) -> None:
    """Put the message of a call into the line of its fair key, if its task has one.

    Raises:
        InvalidTask: its ``fair_key`` function did not return a text.
    """
    key = getattr(task, "fair_key", None)
    if key is None:
        return
    text: object = key(*call.args, **call.kwargs) if callable(key) else key
    if not isinstance(text, str) or not text:
        name = "an empty text" if text == "" else f"{type(text).__qualname__}, not a text"
        raise InvalidTask(f"{call.task}: its fair_key returned {name}; return whose turn it is")
    message.line = line_of(text)
