"""Django's ``task_enqueued`` for what was stored: by callers, the scheduler, or a worker."""

from functools import partial

from django.tasks.signals import task_enqueued

from vtasks_asgi import results, signals
from vtasks_asgi.backends.answers import Pushed
from vtasks_asgi.core.message import Message


class Telling:
    """What it asks of a backend is below."""

    alias: str

    def _tell(self, pushed: Pushed) -> None:
        if signals.wanted(task_enqueued):
            for result in pushed.stored:
                signals.send(task_enqueued, type(self), partial(_same, result))

    async def _atell(self, pushed: Pushed) -> None:
        if signals.wanted(task_enqueued):
            for result in pushed.stored:
                await signals.asend(task_enqueued, type(self), partial(_same, result))

    async def announce(self, message: Message) -> None:
        """Send the signal for a message that the scheduler or a worker has pushed."""
        if signals.wanted(task_enqueued):
            result = partial(results.waiting, message, self.alias)
            await signals.asend(task_enqueued, type(self), result)


def _same[T](value: T) -> T:
    return value
