"""Tasks that keep the event loop for three leases: renewal has a thread of its own."""

from pathlib import Path

import pytest

from tests.brokers import Broker
from tests.ledger import Verdict, Word, judge
from tests.processes import wait_for
from tests.projects import Project, project

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

LEASE = 2.0
BLOCKED_FOR = 3 * LEASE


def block_the_loop(it: Project, task: str) -> tuple[Verdict, str]:
    """One worker is blocked while another, idle, may take whatever expires; the first one's log."""
    client = it.client()
    victim = it.worker()
    id = client.do("enqueue", task, "blocking", BLOCKED_FOR)
    wait_for(lambda: it.book().in_flight(victim.pid), "the blocking task runs")
    it.worker()
    broken = []
    verdict = it.verdict(silence=2 * LEASE)
    result = client.do("result", id)
    if (result["status"], result["attempts"]) != ("SUCCESSFUL", 1):
        broken.append(f"the result says {result}")
    if len(it.book().runs) != 1:
        broken.append(f"executed {len(it.book().runs)} times")
    if broken:
        verdict = Verdict(Word.BROKEN, [*verdict.reasons, *broken], verdict.figures)
    return verdict, victim.text


@pytest.mark.parametrize("task", ["spin", "block"])
def test_a_blocked_loop_keeps_its_lease_and_is_named(
    tmp_path: Path, broker: Broker, task: str
) -> None:
    with project(tmp_path, broker, VTASKS_LEASE=LEASE) as it:
        verdict, log = block_the_loop(it, task)
        assert verdict.word is Word.KEPT, verdict
        blocked = [line for line in log.splitlines() if "event loop has been blocked" in line]
        assert blocked, "nobody said that the loop is blocked"
        assert f"tests.project.tasks.{task}" in blocked[0]


def test_control_without_renewal_the_harness_sees_a_second_run(tmp_path: Path) -> None:
    with project(tmp_path, VTASKS_LEASE=LEASE, MUTANT="no_renewal") as it:
        client, victim = it.client(), it.worker()
        client.do("enqueue", "block", "blocking", BLOCKED_FOR)
        wait_for(lambda: it.book().in_flight(victim.pid), "the blocking task runs")
        it.worker()
        wait_for(lambda: len(it.book().of("blocking")) == 2, "somebody else runs it too")
        verdict = judge(it.book(), quiet=False)
        assert verdict.word is Word.BROKEN, verdict
        assert verdict.reasons == ["run again without a fault: 1 (blocking)"]
