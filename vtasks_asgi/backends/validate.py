"""What makes a task one that a backend can take; each error names what is wrong and the fix."""

from collections.abc import Collection
from functools import cache
from inspect import signature
from typing import Any

from django.tasks.exceptions import InvalidTask
from django.utils.inspect import get_func_args, is_module_level_function

from vtasks_asgi.conf import options, use_tz
from vtasks_asgi.core.message import MAX_PRIORITY, MIN_PRIORITY
from vtasks_asgi.exceptions import ConfigurationError


def settings_in_force() -> object:
    """The same object for as long as no setting changes; None while some are wrong."""
    try:
        return options()
    except ConfigurationError:
        return None


def check_routing(task: Any, queues: Collection[str], alias: str) -> None:
    """Priority, queue and ``run_after``; ``queues`` empty allows any.

    Raises:
        InvalidTask: naming the option.
    """
    priority, run_after = task.priority, task.run_after
    if type(priority) is not int or not MIN_PRIORITY <= priority <= MAX_PRIORITY:
        raise InvalidTask(
            f"priority must be a whole number between {MIN_PRIORITY} and {MAX_PRIORITY}."
        )
    if queues and task.queue_name not in queues:
        raise InvalidTask(
            f"Queue {task.queue_name!r} is not valid for backend {alias!r}: add it to"
            f" VTASKS_QUEUES or TASKS[{alias!r}]['QUEUES']"
            f" (known: {', '.join(sorted(queues))})."
        )
    if run_after is not None and use_tz() and run_after.tzinfo is None:
        raise InvalidTask("run_after must be an aware datetime.")


def check_untransactional(task: Any, alias: str) -> None:
    """For backends that keep their messages in no database.

    Raises:
        InvalidTask: it is transactional.
    """
    if getattr(task, "transactional", False):
        raise InvalidTask(
            f"{task.func.__qualname__}: a transactional task needs a backend whose messages are in"
            f" the database, such as DatabaseTaskBackend; those of TASKS[{alias!r}] are not."
        )


@cache
def check_function(func: Any, takes_context: bool) -> None:
    """Django's rules for the function, looked at once instead of at every enqueue.

    Raises:
        InvalidTask: naming the rule.
    """
    if not is_module_level_function(func):
        raise InvalidTask("Task function must be defined at a module level.")
    if func.__name__ == "<lambda>":
        raise InvalidTask("A lambda has no name to be found by; write a function with def.")
    arguments = get_func_args(func)
    if takes_context and (not arguments or arguments[0] != "context"):
        raise InvalidTask("Task takes context but does not have a first argument of 'context'.")


def check_batch(task: Any) -> None:
    """A task whose queue gives each task its own batches must be able to take them.

    Raises:
        InvalidTask: why it cannot.
    """
    try:
        batch = options().batch_queues.get(task.queue_name)
    except ConfigurationError:
        return  # a system check says so
    if batch and not batch.task and (problem := batch_problem(task)):
        raise InvalidTask(f"Queue {task.queue_name!r} is run in batches: {problem}.")


def batch_problem(task: Any) -> str | None:
    """Why this task's function cannot be called with a batch; None if it can."""
    if task.takes_context:
        why = "takes a context, but a batch has as many as items; each item tells id and attempt"
    elif getattr(task, "transactional", False):
        why = "is transactional, but each message of a batch ends for itself"
    elif not _takes_a_list(task.func):
        why = "must take one argument, the list of items"
    else:
        return None
    return f"the function of {task.module_path} {why}"


@cache
def _takes_a_list(func: Any) -> bool:
    try:
        signature(func).bind([])
    except TypeError:
        return False
    return True


@cache
def parameters(func: Any) -> frozenset[str]:
    """The names of the function's parameters."""
    return frozenset(get_func_args(func))
