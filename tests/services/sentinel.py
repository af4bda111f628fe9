"""A primary with two replicas, and the three sentinels that replace it when it is gone."""

from typing import Any, Self

from tests.processes import wait_for
from tests.services.service import Startable, program
from tests.services.valkey import SERVERS, Valkey

#: What the sentinels call the primary.
PRIMARY = "vtasks"
QUORUM = 2


class Sentinel(Valkey):
    """One sentinel. It rewrites its own configuration, so a restart goes on where it was."""

    name = "sentinel"

    def __init__(self, primary: Valkey, down_after: float) -> None:
        super().__init__()
        self._lines = {
            "bind": "127.0.0.1",
            "port": self.port,
            "dir": self.folder,
            "sentinel monitor": f"{PRIMARY} 127.0.0.1 {primary.port} {QUORUM}",
            "sentinel down-after-milliseconds": f"{PRIMARY} {int(down_after * 1000)}",
            "sentinel failover-timeout": f"{PRIMARY} 5000",
        }

    def command(self) -> list[str]:
        return [program(*SERVERS), str(self._file), "--sentinel"]

    def sees(self) -> dict[str, Any]:
        """What it knows of the primary."""
        words = self.ask("SENTINEL", "MASTER", PRIMARY)
        return dict(zip(words[::2], words[1::2], strict=True))


class SentinelTrio(Startable):
    """``down_after`` are the seconds of silence before a sentinel takes a server for dead."""

    name = "sentinel"
    missing = Valkey.missing

    def __init__(self, *, down_after: float = 1.0) -> None:
        self.primary = Valkey()
        follow: dict[str, str | int] = {
            "replicaof": f"127.0.0.1 {self.primary.port}",
            "repl-ping-replica-period": 1,
        }
        self.replicas = [Valkey(config=follow) for _ in range(2)]
        self.sentinels = [Sentinel(self.primary, down_after) for _ in range(3)]

    @property
    def servers(self) -> list[Valkey]:
        """The three that hold data, whichever is the primary."""
        return [self.primary, *self.replicas]

    def start(self) -> Self:
        for server in self.servers:
            server.start()
        wait_for(lambda: len(self.primary.ask("ROLE")[2]) == 2, "both replicas follow")
        # Only then, for a sentinel asks who the replicas are when it starts, and rarely again.
        for sentinel in self.sentinels:
            sentinel.start()
        wait_for(self._agreed, "the sentinels know each other and the replicas")
        return self

    def _agreed(self) -> bool:
        seen = [sentinel.sees() for sentinel in self.sentinels]
        return all(
            (it["num-slaves"], it["num-other-sentinels"], it["flags"]) == ("2", "2", "master")
            for it in seen
        )

    def close(self) -> None:
        for node in (*self.sentinels, *self.servers):
            node.close()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The sentinels, as a client's ``Sentinel`` takes them; the primary is ``PRIMARY``."""
        return [("127.0.0.1", sentinel.port) for sentinel in self.sentinels]

    def kill_primary(self) -> Valkey:
        """kill -9 the primary, and return it."""
        self.primary.kill()
        return self.primary

    def wait_failover(self) -> Valkey:
        """Wait until all sentinels name another primary, which agrees; it is ``primary`` now.

        The old one is among the replicas then; started again, it is made one after some 10 s.
        """
        old = self.primary
        self.primary = wait_for(self._successor, "another primary")
        self.replicas = [it for it in [*self.replicas, old] if it is not self.primary]
        return self.primary

    def _successor(self) -> Valkey | None:
        named = {int(sentinel.sees()["port"]) for sentinel in self.sentinels}
        for replica in self.replicas:
            if named == {replica.port} and replica.ask("ROLE")[0] == "master":
                return replica
        return None
