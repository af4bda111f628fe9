"""Valkey: a place is one of a server's numbered databases."""

import json
from collections.abc import Mapping
from typing import Any

import valkey

from benchmarks.engines.engine import Served
from tests.services.valkey import Valkey as Server

#: Keys that hold what is not finished: lists, sets or hashes, one entry a message.
UNFINISHED = {
    "ours": ("vt:{default}:ready", "vt:{default}:sched", "vt:{default}:lease"),
    "vtasks": ("{vt}:q:default", "{vt}:processing:*"),
    "celery": ("celery", "unacked"),
    "rq": ("rq:queue:default", "rq:wip:default"),
    "saq": ("saq:default:incomplete",),
}
COUNTING = {b"list": "LLEN", b"zset": "ZCARD", b"hash": "HLEN", b"set": "SCARD"}
PLACES = 200


class Valkey(Served[Server]):
    """An append-only file, flushed to disk every second; it is not rewritten during a run."""

    name = "valkey"
    kind = Server
    migrates = False

    def __init__(self) -> None:
        super().__init__()
        self._free = [str(number) for number in reversed(range(PLACES))]

    def make(self) -> Server:
        config: dict[str, str | int] = {
            "appendfsync": "everysec",
            "auto-aof-rewrite-percentage": 0,
            "databases": PLACES,
        }
        return Server(config=config)

    @property
    def version(self) -> str:
        server = self.server.ask("INFO", "server")
        return str(server.get("valkey_version") or f"Redis {server['redis_version']}")

    def fresh(self) -> str:
        return self._free.pop()

    def copy(self, place: str) -> str:
        copy = self.fresh()
        with self._client(place) as client:
            pipeline = client.pipeline(transaction=False)
            for key in client.scan_iter(count=1_000):
                pipeline.copy(key, key, destination_db=copy)
            pipeline.execute()
        return copy

    def discard(self, place: str) -> None:
        with self._client(place) as client:
            client.flushdb(asynchronous=False)
        self._free.append(place)

    def url(self, place: str, port: int | None = None) -> str:
        """The address of a place, through another port if one is given."""
        return f"redis://127.0.0.1:{port or self.server.port}/{place}"

    def env(self, place: str) -> Mapping[str, str]:
        # None of the sides keeps anything in the database that Django wants to have.
        nowhere = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        return {"BENCH_BROKER": self.url(place), "BENCH_DATABASE": json.dumps(nowhere)}

    def pending(self, package: str, place: str) -> int:
        with self._client(place) as client:
            keys = (key for pattern in UNFINISHED[package] for key in _matching(client, pattern))
            return sum(_entries(client, key) for key in keys)

    def kept(self, place: str) -> float:
        with self._client(place) as client:
            pipeline = client.pipeline(transaction=False)
            for key in client.scan_iter(count=1_000):
                pipeline.memory_usage(key, samples=0)
            return float(sum(pipeline.execute()))

    def _client(self, place: str) -> valkey.Valkey:
        return self.server.client(db=int(place))


def _matching(client: valkey.Valkey, pattern: str) -> list[bytes]:
    """The keys of a pattern; looking for all of them takes long where there are many."""
    many = "*" in pattern
    return list(client.scan_iter(match=pattern, count=10_000)) if many else [pattern.encode()]


def _entries(client: valkey.Valkey, key: bytes) -> int:
    asking: Any = client
    kind = asking.type(key)
    return int(asking.execute_command(COUNTING[kind], key)) if kind in COUNTING else 0
