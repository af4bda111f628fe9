"""What ``unique`` and its companions mean: checked where they are written, a key at enqueue."""

from math import inf
from typing import TYPE_CHECKING, Any

from django.tasks.exceptions import InvalidTask

from vtasks_asgi import call_keys
from vtasks_asgi.core.envelope import Call
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.unique import key_of_call, key_of_text

if TYPE_CHECKING:
    from vtasks_asgi.tasks import VTask

ON_DUPLICATE = ("reject", "existing")
EDGES = ("trailing", "leading", "both")


def problem(task: "VTask[Any, Any]") -> str | None:
    """What is wrong with the options of this task, and the fix; None when nothing is."""
    for option, values in (
        ("unique", (None, True, False)),
        ("remove_unique_on_complete", (True, False)),
        ("on_commit", (None, True, False)),
    ):
        if not any(getattr(task, option) is value for value in values):
            return f"{option} must be True or False"
    if wrong := call_keys.problem("unique_key", task.unique_key):
        return wrong
    if task.on_duplicate not in ON_DUPLICATE:
        return 'on_duplicate must be "reject", to get None, or "existing", to get its result'
    return _ttl_problem(task) or _debounce_problem(task) or _idle_option(task)


def _ttl_problem(task: "VTask[Any, Any]") -> str | None:
    ttl = task.ttl
    if ttl is None:
        if task.remove_unique_on_complete:
            return None
        return (
            "remove_unique_on_complete=False keeps the key for ttl seconds from the enqueue:"
            " add ttl=60, or leave it out"
        )
    if type(ttl) not in (int, float) or not 0 < ttl < inf:
        return "ttl must be a number of seconds above 0"
    return None


def _debounce_problem(task: "VTask[Any, Any]") -> str | None:
    wait, longest = task.debounce, task.debounce_max
    for option, value, least in (("debounce", wait, 0), ("debounce_max", longest, wait or 0)):
        if value is not None and not (type(value) in (int, float) and least <= value < inf):
            return f"{option} must be a number of seconds of at least {least:g}"
    if longest is not None and wait is None:
        return "debounce_max has no effect without debounce: add debounce=5, or leave it out"
    if wait and not task.remove_unique_on_complete:
        return "debounce and remove_unique_on_complete=False exclude each other: leave one out"
    return _edge_problem(task)


def _edge_problem(task: "VTask[Any, Any]") -> str | None:
    edge: object = task.debounce_edge
    if edge not in EDGES:
        return 'debounce_edge must be "trailing", "leading" or "both"'
    if edge != "trailing" and task.debounce is None:
        return "debounce_edge has no effect without debounce: add debounce=5, or leave it out"
    if edge == "leading" and task.debounce_max is not None:
        return (
            'debounce_max has no effect with debounce_edge="leading", which puts nothing off: use'
            ' "both", or leave one out'
        )
    return None


def _idle_option(task: "VTask[Any, Any]") -> str | None:
    """An option that does nothing because the task is not unique, unless that was asked for."""
    if task.is_unique or task.unique is False or task.debounce == 0:
        return None
    idle = {
        "ttl": task.ttl is not None,
        "on_duplicate": task.on_duplicate != "reject",
    }
    for option, given in idle.items():
        if given:
            return f"{option} has no effect on a task that is not unique: add unique=True"
    return None


def mark(message: Message, task: Any, call: Call) -> None:
    """Give the message of a call what makes it unique, if its task is.

    Raises:
        InvalidTask: its ``unique_key`` function did not return a text, or it is both debounced and
            to run at a time.
    """
    if not getattr(task, "is_unique", False):
        return
    message.unique = _key(task, call)
    if task.debounce:
        if task.run_after is not None:
            raise InvalidTask(
                f"{call.task}: debounce decides when it runs; leave run_after out, or add"
                " debounce=0 to using()"
            )
        if task.debounce_edge != "trailing":
            message.keep_unique = task.debounce
        if task.debounce_edge != "leading":
            message.debounce, message.debounce_max = task.debounce, task.debounce_max
    elif not task.remove_unique_on_complete:
        message.keep_unique = task.ttl


def _key(task: "VTask[Any, Any]", call: Call) -> str:
    key = task.unique_key
    if key is None:
        return key_of_call(call.task, call.args, call.kwargs)
    return key_of_text(call_keys.text_of("unique_key", key, call))
