"""Batch queues: many messages of one queue, run by one call."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import batched
from typing import Any, TypedDict

from vtasks_asgi.core.envelope import Call


@dataclass(frozen=True, slots=True)
class Batch:
    """How the messages of a queue are gathered.

    Args:
        count: runs at most so many at once, and at once when so many wait.
        timeout: seconds after which fewer than ``count`` run as well.
        task: the name of the task that gets them all; None gives each task its own.
        min_count: fewer than so many wait on after the ``timeout``.

    Raises:
        ValueError: naming what is wrong.
    """

    count: int
    timeout: float
    task: str | None = None
    min_count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError("count must be at least 1")
        if not 0 < self.timeout < 1e9:
            raise ValueError("timeout must be a number of seconds above 0")
        if not 1 <= self.min_count <= self.count:
            raise ValueError("min_count must be at least 1 and at most count")
        if self.task is not None and "." not in self.task:
            raise ValueError("task must be the dotted name of a task, such as 'shop.tasks.load'")


class BatchItem(TypedDict):
    """One message as the function of a batch gets it; ``task`` is its own task's name."""

    id: str
    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    queue_name: str


def batch_item(id: str, queue: str, call: Call) -> BatchItem:
    """What a batch shows of one message."""
    return BatchItem(id=id, task=call.task, args=call.args, kwargs=call.kwargs, queue_name=queue)


def portions(batch: Batch, items: Iterable[BatchItem]) -> Iterator[tuple[str, list[BatchItem]]]:
    """The calls that run these items: the task, and the list it gets.

    At most ``count`` items at a time, in order, and of each such portion one call a task.
    """
    for portion in batched(items, batch.count):
        groups: dict[str, list[BatchItem]] = {}
        for item in portion:
            groups.setdefault(batch.task or item["task"], []).append(item)
        yield from groups.items()
