"""What two stores must agree on: claims, records and numbers without what may differ."""

from dataclasses import replace
from typing import Any

from vtasks_asgi.store.base import Claim, QueueStats, Record, State


def names(claims: list[Claim]) -> list[tuple[str, str]]:
    return [(claim.id, claim.token) for claim in claims]


def essence(claim: Claim) -> Claim:
    """A claim without what may differ between two stores."""
    return replace(claim, token="", handle=None, run_at=None, lost_at=None)


def counts(stats: QueueStats) -> QueueStats:
    return replace(stats, oldest_ready=None)


def seen(record: Record) -> tuple[Any, ...]:
    """What the contract says an onlooker sees of a record in its state, times aside."""
    routing = (record.id, record.queue, str(record.state), record.body, record.priority)
    common = (*routing, repr(record.note))
    if record.state is State.DONE:
        return (*common, record.history, repr(record.value))
    tries = (record.attempt, record.crashes, repr(record.history))
    if record.state is State.DEAD:
        return (*common, *tries, record.reason)
    return (*common, *tries, repr(record.worker), record.started_at is None)
