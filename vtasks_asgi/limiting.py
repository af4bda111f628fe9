"""``concurrency_limit``, ``rate_limit``, ``limit_key``: checked where written, used at enqueue.

A message carries its limits, so that workers and other tasks need not know its task.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

from vtasks_asgi import call_keys
from vtasks_asgi.core.envelope import Call
from vtasks_asgi.core.limits import Limit, parse_rate
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.unique import key_of_text

if TYPE_CHECKING:
    from vtasks_asgi.tasks import VTask

#: Where stores keep it as a number of 32 bits.
MOST_AT_ONCE = 2**31 - 1


def problem(task: "VTask[Any, Any]") -> str | None:
    """What is wrong with the options of this task, and the fix; None when nothing is."""
    most: object = task.concurrency_limit
    if most is not None and not (type(most) is int and 1 <= most <= MOST_AT_ONCE):
        return "concurrency_limit must be a whole number of at least 1, or left out for no limit"
    rate: object = task.rate_limit
    if rate is not None and not isinstance(rate, str):
        return 'rate_limit must be a text such as "100/m": so many starts per s, m, h or d'
    if rate is not None:
        try:
            _interval(rate)
        except ValueError as error:
            return f"rate_limit is {rate!r}, but {error}"
    if wrong := call_keys.problem("limit_key", task.limit_key):
        return wrong
    if task.limit_key is not None and most is None and rate is None:
        return (
            "limit_key has no effect without a limit: add concurrency_limit=5 or"
            ' rate_limit="100/m", or leave it out'
        )
    return None


_interval = cache(parse_rate)


def mark(message: Message, task: Any, call: Call) -> None:
    """Give the message of a call its limits, if its task has any.

    Raises:
        InvalidTask: its ``limit_key`` function did not return a text.
    """
    most, rate = getattr(task, "concurrency_limit", None), getattr(task, "rate_limit", None)
    if most is None and rate is None:
        return
    interval = None if rate is None else _interval(rate)
    key = call.task if task.limit_key is None else task.limit_key
    text = call_keys.text_of("limit_key", key, call)
    message.limit = Limit(key_of_text(text), most, interval)
