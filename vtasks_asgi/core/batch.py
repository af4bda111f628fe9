"""Batch queues: many messages of one queue, run by one call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from vtasks_asgi.core.envelope import Call
from vtasks_asgi.core.errors import ResultUnserialisable


@dataclass(frozen=True, slots=True)
class Batch:
    """How the messages of a queue are gathered.

    Args:
        count: runs at most so many at once, and at once when so many wait.
        timeout: seconds after which fewer than ``count`` run as well.
        task: the name of the task that gets them all; None gives each task its own.
        min_count: fewer than so many wait on after the ``timeout``.
        split: a call that raises is repeated with each half of its messages, down to single ones.

    Raises:
        ValueError: naming what is wrong.
    """

    count: int
    timeout: float
    task: str | None = None
    min_count: int = 1
    split: bool = True

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
    """One message as the function of a batch gets it.

    ``task`` is its own task's name, ``attempt`` counts its runs, this one included.
    """

    id: str
    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    queue_name: str
    attempt: int


def batch_item(id: str, queue: str, call: Call, attempt: int = 1) -> BatchItem:
    """What a batch shows of one message."""
    return BatchItem(
        id=id,
        task=call.task,
        args=call.args,
        kwargs=call.kwargs,
        queue_name=queue,
        attempt=attempt,
    )


def shares(returned: Any, ids: Sequence[str]) -> list[Any]:
    """What the function of a batch returned, as what became of each item: a value or an exception.

    A list or tuple tells of each item, in order; a mapping of those whose ids are its keys. None,
    a number or a text tells of none: all are done, without a value.

    Raises:
        ResultUnserialisable: it is none of these.
    """
    if returned is None or isinstance(returned, bool | int | float | str):
        return [None] * len(ids)
    if isinstance(returned, Mapping):
        if returned.keys() <= set(ids):
            return [returned.get(id) for id in ids]
        found = "a mapping with other keys than the ids of its items"
    elif isinstance(returned, list | tuple):
        if len(returned) == len(ids):
            return list(returned)
        found = f"{len(returned)} results for {len(ids)} items"
    else:
        found = f"a {type(returned).__qualname__}"
    raise ResultUnserialisable(
        f"the function of a batch returned {found}; return None, a list with one result for each"
        " item, or a mapping of results by the items' ids"
    )
