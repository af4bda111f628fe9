"""Django's three task signals, sent with true results and without waste.

Django itself listens to each with a log call. When nobody else does and that log line would not be
written, no ``TaskResult`` is built at all. A receiver that raises is logged and harms nothing: the
task was stored, or has run, already.
"""

import logging
from collections.abc import Callable
from typing import Any

from django.dispatch import Signal
from django.tasks import signals as django_signals
from django.tasks.signals import task_enqueued, task_finished, task_started

logger = logging.getLogger("vtasks_asgi.signals")
django_logger = logging.getLogger("django.tasks")

#: Each signal's own log receiver, and the lowest level it logs at.
_OWN = {
    id(task_enqueued): (id(django_signals.log_task_enqueued), logging.DEBUG),
    id(task_started): (id(django_signals.log_task_started), logging.INFO),
    id(task_finished): (id(django_signals.log_task_finished), logging.INFO),
}


def wanted(signal: Signal, *, failed: bool = False) -> bool:
    """Would anybody notice this signal?"""
    own, level = _OWN[id(signal)]
    return not _only(signal, own) or django_logger.isEnabledFor(logging.ERROR if failed else level)


def send(signal: Signal, sender: type, result: Callable[[], Any]) -> None:
    """Send from a thread, where receivers may block and use the database."""
    _report(signal.send_robust(sender=sender, task_result=result()))


async def asend(signal: Signal, sender: type, result: Callable[[], Any]) -> None:
    """Send from the event loop: a lone log call inline, anything else off the loop."""
    if _only(signal, _OWN[id(signal)][0]):
        send(signal, sender, result)
    else:
        _report(await signal.asend_robust(sender=sender, task_result=result()))


def _only(signal: Signal, own: int) -> bool:
    receivers = signal.receivers
    return not receivers or (len(receivers) == 1 and receivers[0][0][0] == own)


def _report(answers: list[tuple[Any, Any]]) -> None:
    for receiver, answer in answers:
        if isinstance(answer, Exception):
            name = getattr(receiver, "__qualname__", type(receiver).__qualname__)
            logger.error("Receiver %s of a task signal failed", name, exc_info=answer)
