"""Which queues a backend has, and whether a task may go where it wants to."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from vtasks_asgi.backends import validate
from vtasks_asgi.backends.answers import AnyTask
from vtasks_asgi.backends.plan import Plan, plan_of
from vtasks_asgi.conf import options
from vtasks_asgi.core.message import DEFAULT_QUEUE
from vtasks_asgi.exceptions import ConfigurationError

#: Task objects that are remembered to have been checked.
MOST_SOUND = 256


class Routing:
    """The queues of one backend: ``own`` ones, or with None those of the settings in force."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._own: set[str] | None = None
        self._sound: dict[int, Plan] = {}
        self._sound_for: object = None

    @property
    def queues(self) -> set[str]:
        if self._own is not None:
            return self._own
        with suppress(ConfigurationError):
            return set(options().queues)
        return {DEFAULT_QUEUE}

    def have(self, own: set[str] | None) -> None:
        """Have these queues from now on."""
        self._own = own
        self._sound.clear()

    @contextmanager
    def also(self, queue: str) -> Iterator[None]:
        """Let this queue be one of them for the duration of the body."""
        kept, queues = self._own, self.queues
        self.have(queues and queues | {queue})
        try:
            yield
        finally:
            self.have(kept)

    def plan(self, task: AnyTask) -> Plan:
        """Check where it goes; once for each task object, for as long as the settings stay.

        Raises:
            InvalidTask: naming what is wrong.
        """
        settings = validate.settings_in_force()
        if settings is not self._sound_for or len(self._sound) > MOST_SOUND:
            self._sound.clear()
            self._sound_for = settings
        plan = self._sound.get(id(task))
        if plan is None or plan.task is not task:
            validate.check_routing(task, self.queues, self._alias)
            validate.check_batch(task)
            plan = plan_of(task)
            if settings is not None:
                self._sound[id(task)] = plan  # and the task in it, so that no other has its id
        return plan
