"""A Valkey cluster of primaries, whose slots can be moved step by step."""

from typing import Self

from tests.processes import free_port, wait_for
from tests.services.service import Startable
from tests.services.valkey import Valkey

SLOTS = 16384


class ValkeyCluster(Startable):
    """Nodes without replicas, the slots in as many equal ranges."""

    name = "valkey-cluster"
    missing = Valkey.missing

    def __init__(self, nodes: int = 3) -> None:
        self.nodes = [Valkey(config=_config()) for _ in range(nodes)]

    def start(self) -> Self:
        for number, node in enumerate(self.nodes):
            node.start()
            first, end = (SLOTS * n // len(self.nodes) for n in (number, number + 1))
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)  # or they would have to find one
        _, bus = self.nodes[0].ask("CONFIG", "GET", "cluster-port")
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, bus)
        wait_for(self._agreed, "every node knows all the others, and an owner for each slot")
        return self

    def _agreed(self) -> bool:
        everybody = {f"127.0.0.1:{node.port}" for node in self.nodes}
        for node in self.nodes:
            state, _, _ = node.ask("CLUSTER", "INFO").partition("\r\n")
            # Fields: id, address@bus, flags, primary, ping, pong, epoch, link, slots.
            known = [line.split() for line in node.ask("CLUSTER", "NODES").splitlines()]
            linked = {it[1].partition("@")[0] for it in known if it[7] == "connected"}
            if state != "cluster_state:ok" or linked != everybody:
                return False
        return True

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    @property
    def urls(self) -> list[str]:
        """One for each node."""
        return [node.url for node in self.nodes]

    def empty(self) -> None:
        """Delete every key on each node."""
        for node in self.nodes:
            node.empty()

    # -- slots

    def slot(self, key: str) -> int:
        """The slot of a key; only what is between its first braces counts, if it has some."""
        return int(self.nodes[0].ask("CLUSTER", "KEYSLOT", key))

    def owner(self, slot: int) -> Valkey:
        """The node that answers for a slot, going by the first node."""
        for first, last, (_, port, *_), *_ in self.nodes[0].ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"nobody owns slot {slot}")

    def migrate_slot(self, slot: int, source: Valkey, target: Valkey) -> None:
        """Move a slot with its keys, as resharding does: ASK while it lasts, MOVED afterwards."""
        self.begin_migration(slot, source, target)
        self.move_keys(slot, source, target)
        self.end_migration(slot, source, target)

    def begin_migration(self, slot: int, source: Valkey, target: Valkey) -> None:
        """From here on the source sends those who ask for a key it has not to the target."""
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(source))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(target))

    def move_keys(self, slot: int, source: Valkey, target: Valkey, limit: int = 10**6) -> int:
        """Move the slot's keys, at most ``limit`` of them; how many there were."""
        moved = 0
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, min(100, limit - moved)):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            moved += len(keys)
        return moved

    def end_migration(self, slot: int, source: Valkey, target: Valkey) -> None:
        """The slot is the target's; each node is told, so that none has to hear of it."""
        others = [node for node in self.nodes if node not in (source, target)]
        for node in (target, source, *others):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", _id(target))


def _config() -> dict[str, str | int]:
    return {
        "cluster-enabled": "yes",
        "cluster-port": free_port(),
        "cluster-announce-ip": "127.0.0.1",
        "cluster-node-timeout": 2000,
    }


def _id(node: Valkey) -> str:
    return str(node.ask("CLUSTER", "MYID"))
