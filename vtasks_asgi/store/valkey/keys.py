"""Names of keys. All keys of one queue share a hash tag, and so one slot of a cluster. Pure."""

from binascii import crc_hqx
from functools import cache
from urllib.parse import quote

from vtasks_asgi.store.valkey.scripts import Script
from vtasks_asgi.store.valkey.wire import bulk

SLOTS = 16384
#: The tag of what belongs to no queue but must stay together. No queue has it: ``*`` is escaped.
TICKS_TAG = "*"
#: Groups are spread over so many tags, ``*0`` and so on: members may be of any queues.
SHARDS = 16


def slot_of(key: bytes) -> int:
    """The cluster slot of a key, by its hash tag if it has one (cluster specification)."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


class Keys:
    """The keys of one tag: ``{prefix}{tag}:{suffix}``, the tag in braces."""

    def __init__(self, prefix: str, tag: str) -> None:
        self._stem = f"{prefix}{{{tag}}}:"
        self.slot = slot_of(self.name(""))
        self._heads: dict[str, bytes] = {}

    def name(self, suffix: str) -> bytes:
        return (self._stem + suffix).encode()

    def head(self, script: Script) -> bytes:
        """The number of keys and the keys a script wants, packed."""
        head = self._heads.get(script.name)
        if head is None:
            parts = [b"%d" % len(script.keys), *map(self.name, script.keys)]
            head = self._heads[script.name] = b"".join(map(bulk, parts))
        return head

    @property
    def channel(self) -> bytes:
        """Where the doorbell of the queue is rung: the channel is called like the key."""
        return self.name("idle")


class GroupKeys(Keys):
    """Those of one group; suffixes without a colon belong to all groups of its shard."""

    def __init__(self, prefix: str, shard: int, id: str) -> None:
        self._id = id
        super().__init__(prefix, f"*{shard}")

    def name(self, suffix: str) -> bytes:
        return super().name(suffix + self._id if suffix.endswith(":") else suffix)


class Names:
    """All keys under one prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.queues = f"{prefix}queues".encode()
        self.queues_slot = slot_of(self.queues)
        self.ticks = Keys(prefix, TICKS_TAG)
        self.queue = cache(self._queue)

    def group(self, id: str) -> "GroupKeys":
        """The keys of a group; not remembered, for there are many."""
        return GroupKeys(self._prefix, slot_of(id.encode()) % SHARDS, id)

    def shards(self) -> "list[GroupKeys]":
        """Where groups are, whichever these are."""
        return [GroupKeys(self._prefix, shard, "") for shard in range(SHARDS)]

    def _queue(self, queue: str) -> Keys:
        # Percent-encoding maps different names to different tags and leaves no brace in them.
        return Keys(self._prefix, quote(queue, safe="", errors="surrogatepass"))
