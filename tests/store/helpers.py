"""Short words for what contract tests do all the time."""

from collections.abc import Sequence
from typing import Any

from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.outcome import Dead, Done, Outcome
from vtasks_asgi.store.base import (
    Claim,
    FullStore,
    QueueStats,
    Record,
    Settled,
    Settlement,
    State,
    Store,
)

QUEUE = "default"
LEASE = 30.0
DONE = Done(b"history")
DEAD = Dead(b"history", "broken")

#: Names that quoting, formatting, patterns or key syntax might get wrong.
ODD_NAMES = [
    "with space",
    "ünïcödé-队列-🐢",
    "o'quote",
    'double"quote',
    "%s%d%",
    "{brace}",
    "}",
    "semi;--",
    "a_b",  # an underscore and a percent sign are wildcards of LIKE
    "back\\slash",
    "new\nline",
    "*",
    "n" * 100,
]


def message(
    queue: str = QUEUE, *, body: bytes = b"body", priority: int = 0, run_at: float | None = None
) -> Message:
    return Message(new_id(), queue, body, priority, run_at)


async def now(store: Store) -> float:
    """The time by the store's own clock."""
    return (await store.ticks([])).now


async def push(store: Store, count: int = 1, queue: str = QUEUE, **fields: Any) -> list[str]:
    """Push that many new messages, in one call; their ids in order."""
    messages = [message(queue, **fields) for _ in range(count)]
    await store.push(messages)
    return [each.id for each in messages]


async def take(
    store: Store, limit: int = 1000, queue: str = QUEUE, *, worker: str = "worker"
) -> list[Claim]:
    """What a claim hands out now."""
    return (await store.claim(queue, limit, worker=worker, lease=LEASE)).claims


async def take_one(store: Store, queue: str = QUEUE, *, worker: str = "worker") -> Claim:
    """The one message a claim of one hands out."""
    [claim] = await take(store, 1, queue, worker=worker)
    return claim


async def pushed_and_taken(store: Store, queue: str = QUEUE, *, worker: str = "worker") -> Claim:
    """A new message, already claimed."""
    await push(store, 1, queue)
    return await take_one(store, queue, worker=worker)


async def reclaim(
    store: Store, limit: int = 1000, queue: str = QUEUE, *, worker: str = "rescuer"
) -> list[Claim]:
    """What a reclaim takes over now."""
    return await store.reclaim(queue, limit, worker=worker, lease=LEASE)


async def settle(store: Store, claim: Claim, outcome: Outcome = DONE) -> Settled:
    return await store.settle([Settlement(claim, outcome)])


async def bury(store: Store, count: int = 1, queue: str = QUEUE) -> list[str]:
    """That many dead letters, their ids in the order of burial."""
    ids = await push(store, count, queue)
    for claim in await take(store, count, queue):
        await settle(store, claim, DEAD)
    return ids


async def record(store: FullStore, id: str) -> Record:
    """The record of this id, which must exist."""
    return (await store.lookup([id]))[id]


async def stats(store: FullStore, queue: str = QUEUE) -> QueueStats:
    return (await store.stats([queue]))[queue]


async def browse_all(
    store: FullStore, state: State, queue: str = QUEUE, *, page: int = 100
) -> list[Record]:
    """Every record of one state, page by page."""
    records, cursor = await store.browse(queue, state, limit=page)
    turned = set()
    while cursor is not None:
        assert cursor not in turned, "the pages go round in a circle"
        turned.add(cursor)
        more, cursor = await store.browse(queue, state, limit=page, cursor=cursor)
        records += more
    return records


def ids(found: Sequence[Claim] | Sequence[Record]) -> list[str]:
    return [each.id for each in found]
