"""What is the same for all calls of a task object: found out once, not at each enqueue."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from vtasks_asgi import propagation
from vtasks_asgi.backends.answers import Prepared
from vtasks_asgi.core.envelope import Call, encode
from vtasks_asgi.core.message import Message, new_id

#: Options that say nothing about a message beyond what a ``Plan`` has.
_NEUTRAL = frozenset(
    {
        *("func", "backend", "takes_context", "queue_name", "priority", "result_ttl"),
        *("max_attempts", "max_rescues", "backoff", "retry_on", "dont_retry_on", "timeout"),
        *("on_duplicate", "on_commit", "transactional"),
    }
)


@dataclass(slots=True)
class Plan:
    """How to call ``task``. ``plain``: all that its messages have is here, besides arguments."""

    task: Any
    name: str
    queue: str
    priority: int
    result_ttl: float | None
    plain: bool

    def prepared(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], now: float, max_size: int
    ) -> Prepared:
        """A call of a plain one, by far the most common; errors as of ``encode``."""
        id, name, queue = new_id(now), self.name, self.queue
        meta = propagation.outgoing(self.task, name, queue, id)
        call = Call(name, list(args), dict(kwargs), now, self.result_ttl, meta)
        message = Message(id, queue, encode(call, max_size=max_size), self.priority)
        return Prepared(self.task, message, call)


def plan_of(task: Any) -> Plan:
    """The plan of a task object. An option that is not known here makes it no plain one.

    ``run_after``, which has no default in Django 6.0, is none there either.
    """
    plain = all(
        getattr(task, field.name) == (None if field.default is MISSING else field.default)
        for field in fields(task)
        if field.name not in _NEUTRAL
    )
    ttl = getattr(task, "result_ttl", None)
    return Plan(task, task.module_path, task.queue_name, int(task.priority), ttl, plain)
