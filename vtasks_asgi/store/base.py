"""The storage contract. Each verb takes many messages and is one atomic step per queue.

No verb retries, logs or sleeps; policy never lives here. ``store.memory`` is the reference: the
specification in dicts. A store reads its own server's clock wherever leases and due times are
compared. ``extend``, ``cancelled`` and verbs named ``_sync`` block and may be called from any
thread; everything else is awaited on the loop that opened the store. A driver's errors surface as
``StoreError``.

Before ``open`` and after ``aclose`` every verb raises ``StoreUnavailable``; only those named
``_sync`` may answer then, where they use the caller's own connection. Empty sequences are
legal everywhere, and a ``limit`` below 1 takes nothing. Bodies, histories and values are any bytes;
queue, worker and schedule names any text without NUL; ids ASCII text of at most 64 characters, and
to ask for one of another form is legal: nothing has it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from vtasks_asgi.core.limits import Limit
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.outcome import Outcome
from vtasks_asgi.store.control import Control
from vtasks_asgi.store.groups import GroupRecord, Groups, Mark
from vtasks_asgi.store.inspector import Inspector


class State(StrEnum):
    """Where a message is. ``DONE`` exists only while its result is kept.

    A message whose time has come stays ``DELAYED`` until a claim promotes it. One that its limit
    holds back is ``DELAYED`` as well.
    """

    READY = "ready"
    DELAYED = "delayed"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"


@dataclass(slots=True)
class Receipt:
    """The answer to a push.

    ``stored`` is False when a message of that id was already there, or when ``holder``, another
    message's id, holds its unique key. ``merged``: the holder has taken this message's body.
    """

    id: str
    stored: bool = True
    holder: str | None = None
    merged: bool = False


class Ticked(StrEnum):
    """What became of a tick. ``LATE``: somebody has recorded this one, or a later one, before.

    ``SKIPPED`` is recorded without a message: there was none, or its unique key is held.
    """

    FIRED = "fired"
    SKIPPED = "skipped"
    LATE = "late"


@dataclass(slots=True)
class Claim:
    """A message in hand.

    ``token`` fences ``extend`` and ``settle``: it differs for every claim of the same message.
    ``attempt`` counts claims, this one included; ``crashes`` those whose worker vanished.
    ``run_at`` is when it was due, in epoch seconds, None for "when it was enqueued".
    ``lost_worker`` and ``lost_at`` are set by ``reclaim`` only: who held it, and since when.
    ``unique`` is the unique key it holds. ``handle`` is the store's own reference to the message,
    opaque to everybody else. ``note`` is what its runs have noted so far: its holder may change it,
    and ``save`` and ``settle`` write it. ``cancelled`` is set by ``reclaim`` if somebody has asked
    for its end, and later by whoever learns of that. ``limit`` is the message's.
    """

    id: str
    queue: str
    body: bytes
    priority: int
    token: str
    attempt: int
    crashes: int = 0
    history: bytes | None = None
    run_at: float | None = None
    lost_worker: str | None = None
    lost_at: float | None = None
    handle: Any = None
    unique: str | None = None
    note: bytes | None = None
    cancelled: bool = False
    limit: Limit | None = None


@dataclass(slots=True)
class Claimed:
    """What ``claim`` found.

    ``next_due`` is in seconds from now, 0.0 for "already", None when nothing that has a date stays
    delayed. It is 0.0 where a limit has held something back, for there may be more behind.
    """

    claims: list[Claim]
    next_due: float | None = None


@dataclass(slots=True)
class Settlement:
    """A claim and what became of it, to be written back."""

    claim: Claim
    outcome: Outcome


@dataclass(slots=True)
class Settled:
    """What ``settle`` could not write (``lost``: the lease had passed on), and what it evicted.

    ``evicted`` counts dead letters dropped to keep a queue's dead letters under the cap.
    ``cancelled`` are those to be retried or released that became dead letters instead.
    """

    lost: list[Claim] = field(default_factory=list)
    evicted: dict[str, int] = field(default_factory=dict)
    cancelled: list[Claim] = field(default_factory=list)


@dataclass(slots=True)
class Ticks:
    """The store's clock, and the last tick recorded of each schedule it knows."""

    now: float
    last: dict[str, float]


@dataclass(slots=True)
class Record:
    """One message as an onlooker sees it, whatever its state. Times are epoch seconds.

    ``worker`` and ``started_at`` belong to the claim in progress; earlier attempts, and for
    finished messages all attempts, are in ``history``. ``run_at`` is meant for ``DELAYED``, None
    there for what a limit holds back without a date; ``value`` for ``DONE``, ``reason`` for
    ``DEAD``; ``attempt`` and ``crashes`` for all but ``DONE``. ``note`` is there in every state.
    """

    id: str
    queue: str
    state: State
    body: bytes
    priority: int = 0
    run_at: float | None = None
    attempt: int = 0
    crashes: int = 0
    history: bytes | None = None
    worker: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    value: bytes | None = None
    reason: str | None = None
    note: bytes | None = None


@dataclass(slots=True)
class QueueStats:
    """One queue in numbers. A delayed message whose time has come counts as ready.

    ``oldest_ready`` is how many seconds ago the longest-waiting one became ready: was pushed, came
    due, was released or retried. None when none is ready.
    """

    ready: int = 0
    delayed: int = 0
    running: int = 0
    dead: int = 0
    oldest_ready: float | None = None
    paused: bool = False


class Store(Protocol):
    """What a backend and a runtime ask of a queue's storage engine."""

    async def open(self) -> None:
        """Connect. Calling again is legal, whether it failed, succeeded, or was closed since.

        Raises:
            StoreUnavailable: now, or not yet (migrations missing).
        """

    async def aclose(self) -> None:
        """Let go of every connection. Legal when never opened, and twice."""

    async def push(self, messages: Sequence[Message]) -> list[Receipt]:
        """Store messages durably; one receipt each, in order. Idempotent by id.

        An id is known in its queue, whatever the message's state, as long as a record of it is
        stored; to push it to a second queue is a mistake no store has to notice. A unique
        key is held by one message of a queue, from its push for as long as it is ready, delayed or
        running, or ``keep_unique`` lasts; another message with that key is not stored.

        A message with ``debounce`` is never refused. If the holder of its key lives and no claim of
        it counts (``attempt`` 0), the holder takes its body, keeps all else, and is ``DELAYED`` for
        ``debounce`` seconds from now, or until ``debounce_max`` seconds after its own push if that
        is earlier. Otherwise the message is stored and takes the key over.

        One with ``debounce`` and ``keep_unique`` is stored without that wait if nobody holds its
        key, and a holder that has no due time takes its body and still has none.
        """
        ...

    def push_sync(self, messages: Sequence[Message]) -> list[Receipt]:
        """``push`` from the caller's thread; on a database, inside the caller's transaction."""
        ...

    async def ticks(self, schedules: Sequence[str]) -> Ticks:
        """The store's time, and the last tick of those schedules that have one."""
        ...

    async def push_tick(self, schedule: str, at: float, message: Message | None) -> Ticked:
        """Record the tick ``at`` and push its message, both or neither.

        Only if ``at`` is later than the last recorded tick; whoever is second is ``LATE`` and
        stores nothing. ``message`` None records a tick without firing.
        """
        ...

    async def claim(self, queue: str, limit: int, *, worker: str, lease: float) -> Claimed:
        """Take up to ``limit`` due messages: by priority, highest first, then oldest first.

        The oldest is the first pushed, however often it was delayed or tried since. Within one
        priority lines take turns, and those without a line have one together: between two turns of
        a line with messages each other line has at most one in the claims of one store. Messages
        whose time has come are promoted within the same step. Each one taken has its attempt
        counted and a new token, and is held for ``lease`` seconds.

        One whose ``limit`` allows no start is not taken, nor what else with that limit is ready, or
        due before it would: all wait without a date, ``DELAYED``, attempts and places as they were.
        Its line has had its turn. All that run with a key count, whoever holds them; every start
        moves the key's pace (see ``core.limits``). What waits is let go again, into its line if it
        has one, highest priority first, then oldest first: at once when one that ran with its key
        has been settled, however that came out, or at the date at which the pace allows it. The
        limit of the first that waits says how many: so many as may start, those included that are
        ready, or due by then, anyway.
        """
        ...

    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        """Hold these for ``lease`` more seconds from now; returns those already lost.

        A lease that ran out is lost only once somebody has taken it over: until then its holder
        may extend it, and settle. Blocking, from any thread: leases must be renewed while the event
        loop is blocked.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> Settled:
        """Write outcomes back, fenced by each claim's token. Settling twice is a loss, no error.

        A lost settlement does not hinder the others. A retry or release without delay is ready at
        once. A release takes the attempt back that its claim had counted; a reclaimed claim had
        counted none. What was cancelled becomes a dead letter where it would wait again, attempt
        and history as if it did. Evicted are the dead letters buried first. Each claim's ``note``
        is written with its outcome.
        """
        ...

    async def save(self, claim: Claim) -> bool:
        """Write the claim's ``note``; False when its lease had passed on, and nothing was written.

        A note stays with its message: the next claim has it, be it after a retry, a release or a
        crash, and a requeue. It goes when the message, its result or its dead letter goes.
        """
        ...

    async def reclaim(self, queue: str, limit: int, *, worker: str, lease: float) -> list[Claim]:
        """Take over up to ``limit`` expired leases, each with a new token and one more crash.

        The longest expired come first. ``attempt`` is not counted again: what was lost had been
        counted when it was claimed. It also lets go what limits have held back for those that are
        no longer there, such as purged or cancelled ones: a store with very many keys may take
        several calls for all of them.
        """
        ...

    async def wait(self, queues: Sequence[str], timeout: float) -> None:
        """Sleep until there may be work, at most ``timeout`` seconds. A hint: early is legal.

        Any push to one of the queues ends it, delayed ones included, also a push that came after
        the last claim of that queue had begun. Other processes' pushes may take a moment more.
        """


@runtime_checkable
class Joining(Protocol):
    """What a store that can be part of its caller's transaction offers besides."""

    def settle_sync(self, settlements: Sequence[Settlement]) -> Settled:
        """``settle`` from the caller's thread and inside its transaction, if one is open.

        What is lost is no error: whoever wants all or nothing raises one then, and so rolls back.
        """
        ...

    def push_sync(self, messages: Sequence[Message]) -> list[Receipt]: ...

    def mark_members_sync(self, marks: Sequence[Mark]) -> list[GroupRecord]:
        """``mark_members`` likewise."""
        ...

    def close_groups_sync(self, ids: Sequence[str]) -> None:
        """``close_groups`` likewise."""
        ...


class FullStore(Store, Inspector, Control, Groups, Protocol):
    """Every store of this package is all of these."""


#: A finer grain than this is lost in JSON and in databases alike (seconds).
RESOLUTION = 1e-6


def limited(settlements: Sequence[Settlement]) -> list[tuple[str, str]]:
    """Queue and limit key of what is settled, in the order in which everybody takes locks."""
    claims = [settlement.claim for settlement in settlements]
    return sorted({(each.queue, each.limit.key) for each in claims if each.limit is not None})


def by_queue(messages: Sequence[Message]) -> Mapping[str, list[Message]]:
    """Group messages by queue, keeping their order."""
    groups: dict[str, list[Message]] = {}
    for message in messages:
        groups.setdefault(message.queue, []).append(message)
    return groups
