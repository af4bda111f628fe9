"""Exactly-once effects: workers are killed and frozen in the middle of transactional tasks."""

import signal
import time
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import Broker, Database
from tests.ledger import Fault, Word
from tests.processes import Process, wait_for
from tests.projects import Project, project

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

LEASE = 2.0
CALLS: list[Any] = [["stamp", [0.03]]]
#: Where the effects can be in the queue's own transaction.
DATABASES = pytest.mark.parametrize("broker", ["sqlite", "postgres", "mariadb"], indirect=True)


def stamps(broker: Broker) -> Counter[str]:
    """How many rows each key has left behind."""
    assert isinstance(broker, Database)
    with closing(broker.connect()) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT session_key FROM django_session")
        return Counter(name.rpartition("-")[0] for (name,) in cursor.fetchall())


def running(it: Project, process: Process) -> bool:
    return bool(it.book().in_flight(process.pid))


def refused(process: Process) -> bool:
    return "outcomes were refused" in process.text


def began_again(it: Project, process: Process, at: float) -> bool:
    """Has it begun a run since then?"""
    return any(run.pid == process.pid and run.start > at for run in it.book().runs)


def check_effects(it: Project, broker: Broker) -> None:
    """Each message accepted has left exactly one row."""
    assert stamps(broker) == Counter(dict.fromkeys(it.book().accepted, 1))
    assert it.rows("deadletter") == []


@DATABASES
def test_kill_9(tmp_path: Path, broker: Broker) -> None:
    with project(tmp_path, broker, VTASKS_LEASE=LEASE) as it:
        it.worker()
        client, victim = it.client(), it.worker()
        client.do("feed", "f", CALLS, 0.02)
        faults: list[Fault] = []
        # Between a look and its kill a run may end, and then nothing was hit.
        while sum(bool(it.book().in_flight(each.pid, each.at)) for each in faults) < 5:
            wait_for(partial(running, it, victim), "work in flight")
            faults.append(victim.kill())
            victim = it.worker()
        client.do("rest")
        verdict = it.verdict(*faults, silence=2 * LEASE, timeout=120, must_hit=False)
        assert verdict.word is Word.KEPT, verdict
        check_effects(it, broker)


@pytest.mark.parametrize("broker", ["postgres", "mariadb"], indirect=True)
def test_a_freeze_beyond_the_lease(tmp_path: Path, broker: Broker) -> None:
    """Not on SQLite, where the transaction of a frozen process would stop everybody."""
    with project(tmp_path, broker, VTASKS_LEASE=LEASE) as it:
        it.worker()
        client, victim = it.client(), it.worker()
        client.do("feed", "f", CALLS, 0.02)
        rounds = 0
        # Between a look and its freeze a run may end, and then there is none to be undone.
        while rounds < 2 or not refused(victim):
            rounds += 1
            wait_for(partial(running, it, victim), "work in flight")
            victim.signal(signal.SIGSTOP)
            time.sleep(2 * LEASE)
            victim.signal(signal.SIGCONT)
            wait_for(partial(began_again, it, victim, time.monotonic()), "it works again")
        client.do("rest")
        assert it.rests(2 * LEASE, timeout=120)
        check_effects(it, broker)
        assert refused(victim)
