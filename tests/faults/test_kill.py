"""kill -9 in the middle of work, again and again: nothing is lost, and it runs again in time."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import Broker
from tests.ledger import Fault, Verdict, Word
from tests.processes import Process, wait_for
from tests.projects import Project, project

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

LEASE = 2.0
#: The promise is a second start within the lease and 2 s; the rest is for a machine that has to
#: share its cores with other tests.
BOUND = LEASE + 2.0 + 6.0
KILLS = 5
CALLS: list[Any] = [["nap", [0.4]], ["doze", [0.4]]]


def kill_repeatedly(
    it: Project,
    kills: int = KILLS,
    *,
    calls: list[Any] = CALLS,
    queue: str = "default",
    every: float = 0.03,
    bound: float = BOUND,
) -> Verdict:
    """A feed that never pauses, a worker that survives and one that does not."""
    it.worker()
    client = it.client()
    client.do("feed", "f", calls, every, queue=queue)
    faults: list[Fault] = []
    broken: list[str] = []
    victim = it.worker()
    for _ in range(kills):
        wait_for(partial(_works, it, victim), "work in flight")
        faults.append(victim.kill())
        victim = it.worker()
    late = [_slowest_rescue(it, fault, bound) for fault in faults]
    broken += [f"{key} did not run again within {bound} s" for _, key in late if key]
    client.do("rest")
    verdict = it.verdict(*faults, silence=2 * LEASE, timeout=120, also=broken)  # see CRASH_PAUSE
    verdict.figures += f", the slowest second start {max(took for took, _ in late):.1f} s"
    return verdict


def _works(it: Project, process: Process) -> bool:
    return len(it.book().in_flight(process.pid)) >= 2


def _slowest_rescue(it: Project, fault: Fault, bound: float = BOUND) -> tuple[float, str]:
    """Seconds from the kill to the last second start of what it hit; a key that had none.

    A message hit for the second time waits longer on purpose (``core.retry.CRASH_PAUSE``).
    """
    hit = {run.key for run in it.book().in_flight(fault.pid, fault.at)}
    hit = {key for key in hit if it.book().of(key)[0].pid == fault.pid}
    while True:
        book = it.book()
        starts = {key: [run.start for run in book.of(key) if run.start > fault.at] for key in hit}
        missing = sorted(key for key, after in starts.items() if not after)
        if not missing:
            return max((after[0] - fault.at for after in starts.values()), default=0.0), ""
        if time.monotonic() > fault.at + bound:
            return bound, missing[0]
        time.sleep(0.05)


def test_kill_9_under_a_continuous_feed(tmp_path: Path, broker: Broker) -> None:
    with project(tmp_path, broker, VTASKS_LEASE=LEASE) as it:
        verdict = kill_repeatedly(it)
        assert verdict.word is Word.KEPT, verdict
        assert it.rows("deadletter") == []
        assert it.complaints() == []


def test_control_without_reclaim_the_harness_sees_it(tmp_path: Path) -> None:
    with project(tmp_path, VTASKS_LEASE=LEASE, MUTANT="no_reclaim") as it:
        it.worker()
        client = it.client()
        victim: Process = it.worker()
        client.do("feed", "f", CALLS, 0.03)
        wait_for(partial(_works, it, victim), "work in flight")
        fault = victim.kill()
        client.do("rest")
        assert _slowest_rescue(it, fault)[1], "the harness saw a rescue that was switched off"
        verdict = it.verdict(fault, timeout=1)
        assert verdict.word is Word.INVALID, verdict
