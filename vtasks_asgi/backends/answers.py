"""From receipts to what ``enqueue`` returns: a result, or None for a duplicate."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.tasks.base import Task
from django.tasks.exceptions import TaskResultDoesNotExist

from vtasks_asgi import results
from vtasks_asgi.core.envelope import Call
from vtasks_asgi.core.errors import MessageUndecodable
from vtasks_asgi.core.message import Message
from vtasks_asgi.results import AnyResult
from vtasks_asgi.runtime.events import hub
from vtasks_asgi.store.base import Receipt, Record

type AnyTask = Task[..., Any]


@dataclass(slots=True)
class Prepared:
    """A call that has passed every check, and its message."""

    task: AnyTask
    message: Message
    call: Call

    @property
    def waits(self) -> bool:
        """Whether it is pushed at the end of the caller's transaction, if that cannot be joined."""
        return getattr(self.task, "on_commit", None) is not False

    @property
    def wants_holder(self) -> bool:
        """Whether the result of the message that holds its key will do instead of its own."""
        return getattr(self.task, "on_duplicate", None) == "existing"


@dataclass(slots=True)
class Pushed:
    """What to answer to each call, in order, and those of the answers that are newly stored."""

    answers: list[AnyResult | None]
    stored: list[AnyResult]


def accepted(prepared: Prepared, alias: str, id: str | None = None) -> AnyResult:
    """The result of a call just accepted, or that a waiting message of this id has taken on."""
    message = prepared.message if id is None else replace(prepared.message, id=id)
    return results.accepted(prepared.task, message, prepared.call, alias)


def holders(calls: Sequence[Prepared], receipts: Sequence[Receipt]) -> list[str]:
    """The ids of the messages whose results stand in for duplicates."""
    return [
        receipt.holder
        for each, receipt in zip(calls, receipts, strict=True)
        if receipt.holder and each.wants_holder and not receipt.merged
    ]


def answer(
    calls: Sequence[Prepared],
    receipts: Sequence[Receipt],
    found: Mapping[str, Record],
    alias: str,
    ready: list[AnyResult] | None = None,
) -> Pushed:
    """Answer each call, and tell the hub; ``found`` has the records of ``holders``.

    ``ready``: what ``accepted`` says of each, where somebody had the time to ask.
    """
    if all(receipt.holder is None for receipt in receipts):
        for (task, queue), count in Counter([_kind(each) for each in calls]).items():
            hub.submitted(task, queue, count)
        results: list[AnyResult] = ready or [accepted(each, alias) for each in calls]
        return Pushed([*results], results)
    pushed = Pushed([], [])
    for each, receipt in zip(calls, receipts, strict=True):
        result: AnyResult | None = None
        if receipt.holder is None:
            hub.submitted(each.call.task, each.message.queue, 1)
            result = accepted(each, alias)
            pushed.stored.append(result)
        else:
            hub.duplicate(each.call.task, each.message.queue, 1)
            if receipt.merged:
                result = accepted(each, alias, receipt.holder)
            elif each.wants_holder and (record := found.get(receipt.holder)):
                result = _existing(record, alias)
        pushed.answers.append(result)
    return pushed


def _kind(prepared: Prepared) -> tuple[str, str]:
    return prepared.call.task, prepared.message.queue


def _existing(record: Record, alias: str) -> AnyResult | None:
    """The result of the message that holds the key, None when it cannot be shown."""
    try:
        return results.stored(record, alias)
    except (MessageUndecodable, TaskResultDoesNotExist):
        return None
