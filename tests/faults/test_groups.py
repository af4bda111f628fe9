"""Groups while workers die: each callback runs, and after all members; what comes then comes."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import Broker
from tests.ledger import Fault, Word
from tests.processes import wait_for
from tests.projects import Project, project

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

LEASE = 2.0
#: Until the rest is done by others: a lease, a rescue's pause, and a sweep, one after the other.
SILENCE = 3 * LEASE + 5.0
QUICK: dict[str, Any] = {"VTASKS_LEASE": LEASE, "MUTANT": "hasty,tidy"}


def in_flight(it: Project, pid: int) -> bool:
    return len(it.book().in_flight(pid)) >= 2


def test_kill_9_under_a_feed_of_groups(tmp_path: Path, broker: Broker) -> None:
    with project(tmp_path, broker, **QUICK) as it:
        it.worker()
        client, victim = it.client(), it.worker()
        client.do("feed_groups", "g", 6, 0.2, 0.05)
        faults: list[Fault] = []
        for _ in range(4):
            wait_for(partial(in_flight, it, victim.pid), "work in flight")
            faults.append(victim.kill())
            victim = it.worker()
        client.do("rest")
        verdict = it.verdict(*faults, silence=SILENCE, timeout=120)
        assert verdict.word is Word.KEPT, verdict
        assert it.rows("deadletter") == [], "a callback that came too early fails"
        assert it.complaints() == []


@pytest.mark.parametrize("moment", ["marked", "settled", "called"])
def test_a_worker_dies_between_two_steps(tmp_path: Path, broker: Broker, moment: str) -> None:
    with project(tmp_path, broker, **QUICK) as it:
        client = it.client()
        client.do("open_group", "g", 3, 0.05)
        first = it.worker(MUTANT=f"hasty,tidy,parting_{moment}", VTASKS_CONCURRENCY=1)
        assert first.wait() == 9
        it.worker()
        assert it.rests(SILENCE, timeout=60)
        effects = it.book().effects()
        assert it.book().lost() == set()
        assert effects["g.called"] == 1
        assert max(effects.values()) <= 2, "at most the one that was in hand was run again"
        assert it.rows("deadletter") == []


def test_control_a_group_that_calls_nobody_is_seen(tmp_path: Path) -> None:
    with project(tmp_path, VTASKS_LEASE=LEASE, MUTANT="forgetful") as it:
        client = it.client()
        client.do("open_group", "g", 3, 0.01)
        it.worker()
        assert it.rests(1.0)
        assert it.book().lost() == {"g.called"}
