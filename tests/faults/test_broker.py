"""The server that has the queue dies, freezes or cuts every connection, with work in flight.

Nothing acknowledged is lost, nothing runs again, and work goes on by itself soon after.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import BROKERS, Broker, MariaDBServer, PostgresServer, ValkeyServer
from tests.ledger import Verdict, Word
from tests.missing import need
from tests.processes import Process, wait_for
from tests.projects import Project, project

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(240)]

#: The promise is the first completion 5 s after the server is back; the rest is for a machine that
#: has to share its cores with other tests.
BOUND = 5.0 + 10.0
CALLS: list[Any] = [["nap", [0.3]], ["doze", [0.3]]]


@pytest.fixture(params=["mariadb", "postgres", "valkey"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """Each store that has a server of its own."""
    service, make = BROKERS[request.param]
    assert service is not None
    need(request.param, service.missing())
    it = make(tmp_path)
    try:
        yield it
    finally:
        it.close()


def restart(broker: Any) -> None:
    """kill -9, and start again with what was on disk."""
    broker.service.kill()
    broker.service.start()


def freeze(broker: Any) -> None:
    """Silence on open sockets, for longer than any one call may take."""
    broker.service.freeze()
    time.sleep(4.0)
    broker.service.thaw()


def cut(broker: Any) -> None:
    """End every connection from the server's side, several times."""
    for _ in range(5):
        _cut(broker)
        time.sleep(0.3)


def _cut(broker: Any) -> None:
    match broker:
        case ValkeyServer():
            broker.service.ask("CLIENT", "KILL", "TYPE", "normal")
            broker.service.ask("CLIENT", "KILL", "TYPE", "pubsub")
        case PostgresServer():
            broker.service.ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        case MariaDBServer():
            for number, *_ in broker.service.ask(
                "SELECT id FROM information_schema.processlist"
                " WHERE user = 'vtasks' AND id <> connection_id()"
            ):
                broker.service.ask(f"KILL CONNECTION {number}")


def disturb(it: Project, fault: Callable[[Any], None], times: int) -> Verdict:
    """A feed that goes on, a worker, and a server that fails ``times`` times."""
    worker = it.worker()
    client = it.client()
    client.do("feed", "f", CALLS, 0.03, stubborn=True)
    broken: list[str] = []
    slowest = 0.0
    for _ in range(times):
        wait_for(partial(_works, it, worker), "work in flight")
        fault(it.broker)
        took = _back_to_work(it)
        slowest = max(slowest, took)
    if slowest > BOUND:
        broken.append(f"no completion within {BOUND} s")
    client.do("rest")
    verdict = it.verdict(timeout=120, also=broken)
    verdict.figures += f", the slowest first completion after {slowest:.1f} s"
    assert worker.alive
    return verdict


def _works(it: Project, process: Process) -> bool:
    return len(it.book().in_flight(process.pid)) >= 2


def _back_to_work(it: Project) -> float:
    """Seconds from now to the end of a run that begins from now on."""
    now = time.monotonic()
    while time.monotonic() < now + 2 * BOUND:
        if any(run.start > now and run.end for run in it.book().runs):
            return time.monotonic() - now
        time.sleep(0.05)
    return 2 * BOUND


@pytest.mark.parametrize("fault", [restart, freeze, cut])
def test_a_server_that_fails_loses_and_repeats_nothing(
    tmp_path: Path, server: Broker, fault: Callable[[Any], None]
) -> None:
    with project(tmp_path, server) as it:
        verdict = disturb(it, fault, 2)
        assert verdict.word is Word.KEPT, verdict
        assert it.rows("deadletter") == []
        assert [line for line in it.complaints() if "Traceback" in line] == []


def test_a_site_boots_without_its_server_and_works_once_it_is_there(
    tmp_path: Path, server: Broker
) -> None:
    with project(tmp_path, server) as it:
        service: Any = server
        service.service.kill()
        granian = it.granian(ready=False)
        granian.wait_status("/vtasks/health/live", 200)
        granian.wait_status("/vtasks/health/ready", 503)
        assert granian.get("/who").status == 200, "the site serves"
        client = it.client()
        began = time.monotonic()
        with pytest.raises(Exception, match=r"^(StoreUnavailable|OperationalError)"):
            client.do("enqueue", "nap", "early")
        assert time.monotonic() - began < 3.0 + 10.0
        service.service.start()
        granian.wait_status("/vtasks/health/ready", 200)
        client.do("enqueue", "nap", "late")
        verdict = it.verdict(timeout=60)
        assert verdict.word is Word.KEPT, verdict
        assert it.book().effects()["late"] == 1
        assert [line for line in it.complaints() if "Traceback" in line] == []
