"""Which server has a queue, and what to do when one sends us elsewhere. Sans I/O.

The steps of a request are a generator: it asks for one thing after the other to be sent, and is
told each answer. The awaiting side and the blocking side walk through the same steps.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol

from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.store.valkey.errors import NotSent, ReplyError, mapped
from vtasks_asgi.store.valkey.keys import SLOTS
from vtasks_asgi.store.valkey.url import Address, Endpoint, Kind
from vtasks_asgi.store.valkey.wire import Request, pack

#: Seconds between two tries while servers change their roles; doubled from try to try.
PAUSE_FIRST, PAUSE_LAST = 0.01, 0.2

#: Answers that mean: not executed here, and somebody else, or the same one later, will do it.
_ELSEWHERE = {"READONLY", "MASTERDOWN", "CLUSTERDOWN", "LOADING", "TRYAGAIN"}


@dataclass(slots=True)
class Send:
    """Send this to a server; ``asking`` is for a slot that is only arriving there."""

    address: Address
    payload: bytes
    asking: bool = False


@dataclass(slots=True)
class Consult:
    """Ask a sentinel, on a connection for this one question."""

    address: Address
    payload: bytes


@dataclass(slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


type Step = Send | Consult | Pause
#: The answer to a step is a reply, an error reply, or StoreUnavailable, as an object.
type Steps[T] = Generator[Step, Any, T]


class Topology(Protocol):
    """What is known of the servers. ``find`` costs next to nothing."""

    def find(self, slot: int) -> Address | None:
        """Who has the slot, as far as known."""
        ...

    def resolve(self, slot: int) -> Steps[Address]:
        """Find out anew.

        Raises:
            StoreUnavailable: nobody knows.
        """
        ...

    def forget(self, slot: int) -> None:
        """What is known of the slot is no longer true."""
        ...

    def learn(self, slot: int, address: Address) -> None:
        """A server said who has the slot."""
        ...


class Single:
    """One server."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._address = endpoint.addresses[0]

    def find(self, slot: int) -> Address | None:
        return self._address

    def resolve(self, slot: int) -> Steps[Address]:
        yield from ()
        return self._address

    def forget(self, slot: int) -> None:
        pass

    def learn(self, slot: int, address: Address) -> None:
        raise StoreUnavailable(
            "Valkey: the server is part of a cluster; write BROKER_URL as valkey+cluster://…"
        )


class Sentinels:
    """One primary at a time, and sentinels who know which."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._sentinels = list(endpoint.addresses)
        self._service = endpoint.service or ""
        self._primary: Address | None = None

    def find(self, slot: int) -> Address | None:
        return self._primary

    def resolve(self, slot: int) -> Steps[Address]:
        why = ""
        question = pack("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
        for sentinel in list(self._sentinels):
            answer = yield Consult(sentinel, question)
            if isinstance(answer, list) and len(answer) == 2:
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)  # who answered is asked first next time
                self._primary = Address(answer[0].decode(), int(answer[1]))
                return self._primary
            why = str(answer) if answer is not None else "the service is unknown there"
        raise NotSent(f"Valkey: no sentinel knows the primary of {self._service!r} ({why})")

    def forget(self, slot: int) -> None:
        self._primary = None

    def learn(self, slot: int, address: Address) -> None:
        self._primary = address


class Cluster:
    """Sixteen thousand slots, each with one primary."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._seeds = endpoint.addresses
        self._owners: list[Address | None] = [None] * SLOTS

    def find(self, slot: int) -> Address | None:
        return self._owners[slot]

    def resolve(self, slot: int) -> Steps[Address]:
        known = [*dict.fromkeys(filter(None, self._owners)), *self._seeds]
        why = ""
        for node in dict.fromkeys(known):
            answer = yield Send(node, pack("CLUSTER", "SLOTS"))
            if isinstance(answer, list):
                self._take(answer, node)
                if found := self._owners[slot]:
                    return found
                why = "the slot has no owner"
            else:
                why = str(answer)
        raise NotSent(f"Valkey: no node of the cluster knows where to go ({why})")

    def _take(self, ranges: list[Any], told_by: Address) -> None:
        for first, last, primary, *_ in ranges:
            host = primary[0].decode() if primary[0] else told_by.host
            address = Address(host, int(primary[1]))
            self._owners[first : last + 1] = [address] * (last + 1 - first)

    def forget(self, slot: int) -> None:
        self._owners[slot] = None

    def learn(self, slot: int, address: Address) -> None:
        self._owners[slot] = address


def topology(endpoint: Endpoint) -> Topology:
    """The one of the endpoint's kind."""
    kinds: dict[Kind, Callable[[Endpoint], Topology]] = {
        Kind.SINGLE: Single,
        Kind.SENTINEL: Sentinels,
        Kind.CLUSTER: Cluster,
    }
    return kinds[endpoint.kind](endpoint)


@dataclass(slots=True)
class _Try:
    """One request on its way through the servers."""

    topology: Topology
    slot: int
    payload: bytes
    address: Address | None
    asking: bool = False
    pause: float = PAUSE_FIRST

    def send(self) -> Steps[Any]:
        """Send it; the answer, errors among them."""
        try:
            if self.address is None:
                self.address = yield from self.topology.resolve(self.slot)
            return (yield Send(self.address, self.payload, self.asking))
        except NotSent as error:
            return error

    def redirect(self, error: str) -> None:
        """Follow "MOVED 3999 host:port", or ASK, which holds for this one request."""
        host, _, port = error.rpartition(" ")[2].rpartition(":")
        told_by = self.address.host if self.address else ""
        self.address = Address(host or told_by, int(port))
        self.asking = error.startswith("ASK")
        if not self.asking:
            self.topology.learn(self.slot, self.address)

    def again(self) -> Steps[None]:
        """Wait a moment, longer each time, and find out anew who has the slot."""
        yield Pause(self.pause)
        self.pause = min(self.pause * 2, PAUSE_LAST)
        self.address, self.asking = self.topology.find(self.slot), False


def exchange(
    topology: Topology,
    request: Request,
    timeout: float,
    first: tuple[Address, Any] | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Steps[Any]:
    """Every step until the request is answered; the reply.

    ``first`` is the answer to a first try that was made already, and who gave it. What a server
    has refused is sent again, for that has no effect; what may have been executed is not.

    Raises:
        StoreError: it was refused for good, or there was no answer in time.
    """
    deadline = now() + timeout
    address = first[0] if first else topology.find(request.slot)
    attempt = _Try(topology, request.slot, request.payload, address)
    answer = first[1] if first else (yield from attempt.send())
    while isinstance(answer, Exception):
        code = answer.code if isinstance(answer, ReplyError) else ""
        if code == "NOSCRIPT":
            attempt.payload = request.in_full
        elif code in ("MOVED", "ASK") and now() < deadline:
            attempt.redirect(str(answer))
        else:
            if code != "TRYAGAIN":
                topology.forget(request.slot)
            if not _passes(topology, answer) or now() + attempt.pause > deadline:
                raise _surfaced(answer)
            yield from attempt.again()
        answer = yield from attempt.send()
    return answer


def _surfaced(answer: Exception) -> Exception:
    """The error as callers know it."""
    if isinstance(answer, ReplyError):
        return mapped(answer)
    return StoreUnavailable(str(answer)) if isinstance(answer, NotSent) else answer


def _passes(topology: Topology, answer: Exception) -> bool:
    """Will the same request be answered in a moment, by this server or another?"""
    if isinstance(answer, ReplyError):
        return answer.code in _ELSEWHERE
    return isinstance(answer, NotSent) and not isinstance(topology, Single)
