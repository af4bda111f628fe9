"""Who gets a unique key, once the keys are locked: decided here, for it goes message by message."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from vtasks_asgi.core.message import Message
from vtasks_asgi.store.base import Receipt
from vtasks_asgi.store.database.postgres.keys import Key


@dataclass(slots=True)
class Verdicts:
    """``holders`` of keys, ids already ``known``, and holders that are still ``waiting`` to begin.

    What to write comes of it: ``new`` messages, and by whom holders are ``merged`` with, by id.
    """

    holders: dict[Key, str]
    known: set[str]
    waiting: Collection[str] = ()
    new: dict[str, Message] = field(default_factory=dict)
    merged: dict[str, Message] = field(default_factory=dict)

    def judge(self, message: Message) -> Receipt:
        """The answer to one message; earlier ones of the same call count as stored."""
        if message.id in self.known:
            return Receipt(message.id, False)
        if message.unique is not None:
            key = message.queue, message.unique
            holder = self.holders.get(key)
            if holder is not None and holder != message.id:
                if message.debounce is None:
                    return Receipt(message.id, False, holder)
                if self._merge(holder, message):
                    return Receipt(message.id, False, holder, merged=True)
            elif message.leads:
                message = replace(message, debounce=None)
            self.holders[key] = message.id
        self.known.add(message.id)
        self.new[message.id] = message
        return Receipt(message.id)

    def _merge(self, holder: str, message: Message) -> bool:
        if holder in self.new:  # pushed in this very call, so its own push is now
            self.new[holder] = self.new[holder].absorb(message)
            return True
        if holder in self.waiting:
            earlier = self.merged.get(holder)
            if earlier is not None and not earlier.leads:  # it has a due time by now
                message = replace(message, keep_unique=None)
            self.merged[holder] = message
            return True
        return False
