"""What ``fair_key`` means: checked where it is written, a line at enqueue."""

from typing import TYPE_CHECKING, Any

from vtasks_asgi import call_keys
from vtasks_asgi.core.envelope import Call
from vtasks_asgi.core.line import line_of
from vtasks_asgi.core.message import Message

if TYPE_CHECKING:
    from vtasks_asgi.tasks import VTask


def problem(task: "VTask[Any, Any]") -> str | None:
    """What is wrong with the option of this task, and the fix; None when nothing is."""
    return call_keys.problem("fair_key", task.fair_key)


def mark(message: Message, task: Any, call: Call) -> None:
    """Put the message of a call into the line of its fair key, if its task has one.

    Raises:
        InvalidTask: its ``fair_key`` function did not return a text.
    """
    key = getattr(task, "fair_key", None)
    if key is not None:
        message.line = line_of(call_keys.text_of("fair_key", key, call))
