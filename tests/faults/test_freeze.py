"""A worker frozen past its lease and woken again: it is late, and must not be heard."""

import signal
from pathlib import Path

import pytest

from tests.brokers import RUNNING, Broker
from tests.ledger import Fault, Verdict, Word
from tests.processes import Process, wait_for
from tests.projects import Project, project

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

LEASE = 2.0


def freeze(it: Project, task: str) -> Verdict:
    """SIGSTOP the first worker until a second one runs its message; then let both finish."""
    client = it.client()
    first = it.worker()
    id = client.do("enqueue", task, "frozen")
    wait_for(lambda: it.book().in_flight(first.pid), "the first run")
    fault = Fault(first.pid, first.signal(signal.SIGSTOP), "freeze")
    second = it.worker()
    wait_for(lambda: it.book().in_flight(second.pid), "the second run")
    if task == "gated_sync":  # nobody can stop a thread: it ends by itself, too late
        it.open_gate(f"frozen-{first.pid}")
    fault.until = first.signal(signal.SIGCONT)
    wait_for(lambda: _heard_of_it(it, first), "the first worker learns that it is late")
    broken = []
    row = it.row(id) if it.rows() else None
    if row is None or row["state"] != RUNNING:
        broken.append("the late outcome was written")
    it.open_gate(f"frozen-{second.pid}")
    verdict = it.verdict(fault, silence=2 * LEASE, also=broken)
    result = client.do("result", id)
    if (result["status"], result["value"]) != ("SUCCESSFUL", second.pid):
        return Verdict(Word.BROKEN, [*verdict.reasons, f"the result is {result}"], verdict.figures)
    return verdict


def _heard_of_it(it: Project, first: Process) -> bool:
    """It was refused, or (what a mutant would do) its run ended and the message is gone."""
    return "had passed on" in first.text or not it.rows()


@pytest.mark.parametrize("task", ["gated", "gated_sync"])
def test_the_outcome_of_a_frozen_worker_is_refused(
    tmp_path: Path, broker: Broker, task: str
) -> None:
    with project(tmp_path, broker, VTASKS_LEASE=LEASE) as it:
        verdict = freeze(it, task)
        assert verdict.word is Word.KEPT, verdict
        first, second = it.book().of("frozen")
        assert second.effect
        if task == "gated":
            assert first.cut and not first.effect, "an async task is cancelled when it is late"
        else:
            assert first.effect, "the late outcome was never there to be refused"


def test_control_without_a_fence_the_harness_hears_the_late_one(tmp_path: Path) -> None:
    with project(tmp_path, VTASKS_LEASE=LEASE, MUTANT="no_fence") as it:
        verdict = freeze(it, "gated_sync")
        assert verdict.word is Word.BROKEN, verdict
        assert "the late outcome was written" in verdict.reasons
