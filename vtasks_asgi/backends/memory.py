"""Messages in the memory of this process, for tests and for a first try: none outlives it.

An enqueue still belongs to the transaction it is made in: what is rolled back is taken back, also
inside a ``TestCase``. Until then, unlike on a database, everybody sees it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS

from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.conf import options
from vtasks_asgi.core.clock import TravelClock
from vtasks_asgi.core.message import Message
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.joint import Joint
from vtasks_asgi.runtime.active import runtime_of
from vtasks_asgi.store.base import Claim, FullStore, Receipt, State
from vtasks_asgi.store.groups import NewGroup, Opened
from vtasks_asgi.store.memory import MemoryStore, hand_out
from vtasks_asgi.transactions import Fate, decided, fate_in

if TYPE_CHECKING:
    from vtasks_asgi.core.batch import BatchItem


class TransactionalStore(MemoryStore):
    """The reference store, which forgets what was pushed in a transaction that is rolled back.

    Open from the start, but for its twins. ``clock`` may be advanced. ``pending`` is what
    ``ImmediateBackend`` has gathered for its batch queues.
    """

    def __init__(self, database: str, *, dead_letter_cap: int) -> None:
        self.clock = TravelClock()
        super().__init__(clock=self.clock, dead_letter_cap=dead_letter_cap)
        self._opened = True  # there is nothing to connect to
        self.pending: dict[str, list[BatchItem]] = defaultdict(list)
        self._database = database
        self._fates: dict[str, Fate] = {}

    def push_sync(self, messages: Sequence[Message]) -> list[Receipt]:
        fate = fate_in(self._database, reversed(self._fates.values()))
        receipts = super().push_sync(messages)
        if fate is not None:
            stored = [receipt.id for receipt in receipts if receipt.stored]
            self._fates |= dict.fromkeys(stored, fate)
        return receipts

    def open_group_sync(self, group: NewGroup, messages: Sequence[Message]) -> Opened:
        fate = fate_in(self._database, reversed(self._fates.values()))
        if fate is not None:
            self._fates[group.id] = fate
        return super().open_group_sync(group, messages)

    def take(self, id: str, *, worker: str, lease: float) -> Claim | None:
        """Claim this one message, due or not; None if it is not there to be claimed."""
        with self._work() as now:
            entry = self._entries.get(id)
            if entry is None or entry.record.state not in (State.READY, State.DELAYED):
                return None
            entry.record.attempt += 1
            return hand_out(entry, worker, now, lease)

    @contextmanager
    def _work(self) -> Iterator[float]:
        with super()._work() as now:
            self._take_back()
            yield now

    def _take_back(self) -> None:
        if not self._fates:
            return
        known = decided(set(self._fates.values()))
        for id, fate in list(self._fates.items()):
            if fate in known:
                del self._fates[id]
                if not known[fate]:
                    self._forget(id)

    def _forget(self, id: str) -> None:
        self._groups.pop(id, None)
        entry = self._entries.pop(id, None)
        if entry is not None and entry.unique is not None:
            key = entry.record.queue, entry.unique
            if self._locks[key].id == id:
                del self._locks[key]


class MemoryTaskBackend(VTasksBackend):
    """``OPTIONS["DATABASE"]`` names the database whose transactions count; default ``"default"``.

    All backends of one alias share one memory, which begins empty whenever ``TASKS`` changes. A
    worker in this process may consume it.
    """

    option_names = VTasksBackend.option_names | {"DATABASE"}
    transacts = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        if alias not in memories:
            memories[alias] = TransactionalStore(self.database, dead_letter_cap=_cap())
        self.memory = memories[alias]
        self._clock = self.clock = self.memory.clock

    @property
    def database(self) -> str:
        """The alias of the database whose transactions count."""
        return str(self.options.get("DATABASE", DEFAULT_DB_ALIAS))

    def joint(self, store: object) -> Joint:
        """In a transaction of that database, which the memory can be no part of."""
        return Joint(self.database)

    def joins(self, alias: str) -> bool:
        """As a queue in that database would."""
        return alias == self.database

    @property
    def store(self) -> FullStore:
        runtime = runtime_of(self.alias)
        return runtime.store if runtime else self.memory

    def make_store(self) -> FullStore:
        """Another store on the same memory, as another process would have it."""
        self.require_good_options()
        return self.memory.twin()


#: The memory of each alias.
memories: dict[str, TransactionalStore] = {}


def _cap() -> int:
    try:
        return options().dlq_cap
    except ConfigurationError:  # a system check says so
        return 0


def _begin_anew(*, setting: str, **kwargs: Any) -> None:
    if setting == "TASKS":
        memories.clear()


setting_changed.connect(_begin_anew, dispatch_uid="vtasks_asgi.backends.memory")
