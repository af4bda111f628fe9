"""A task that kills its process is given up on within its budget, and its neighbours run."""

from pathlib import Path

import pytest

from tests.brokers import Broker
from tests.ledger import Fault, Verdict, Word, judge
from tests.processes import Process, wait_for
from tests.projects import Project, project

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

LEASE = 1.0
RESCUES = 2
NEIGHBOURS = 8


def poison(it: Project, executions: int) -> Verdict:
    """A task that kills its process, and its neighbours."""
    client = it.client()
    client.do("enqueue", "poison", "poison")
    for number in range(NEIGHBOURS):
        client.do("enqueue", "nap" if number % 2 else "doze", f"neighbour.{number}", 0.02)
    return survive(it, executions)


def survive(it: Project, executions: int) -> Verdict:
    """Whoever runs "poison" dies and is started anew, until nothing is left to do."""
    worker = it.worker(ready=False)
    faults: list[Fault] = []

    def over() -> bool:
        nonlocal worker
        if not worker.alive:
            faults.append(_death(it, worker))
            worker = it.worker(ready=False)
        return len(faults) > executions or not it.rows()

    wait_for(over, "the queue is empty", timeout=90)
    book = it.book()
    runs = len(book.of("poison"))
    broken = [] if runs <= executions else [f"executed {runs} times"]
    del book.accepted["poison"]  # it has no effect, and must not be missed
    return judge(book, faults, quiet=not it.rows(), also=broken)


def _death(it: Project, worker: Process) -> Fault:
    """The moment of its last start: it cannot tell when it died."""
    last = max(run.start for run in it.book().runs if run.pid == worker.pid)
    return Fault(worker.pid, last, "exit")


def test_a_poison_task_is_dead_lettered_within_its_budget(tmp_path: Path, broker: Broker) -> None:
    with project(
        tmp_path, broker, VTASKS_LEASE=LEASE, VTASKS_MAX_RESCUES=RESCUES, MUTANT="hasty"
    ) as it:
        verdict = poison(it, executions=RESCUES + 1)
        assert verdict.word is Word.KEPT, verdict
        assert len(it.rows("deadletter")) == 1
        (letter,) = it.client().do("letters")
        assert letter == {"id": letter["id"], "reason": "worker_lost", "crashes": RESCUES + 1}
        assert len(it.book().of("poison")) == RESCUES + 1


def test_control_without_counting_deaths_the_harness_sees_it_go_on(tmp_path: Path) -> None:
    with project(
        tmp_path, VTASKS_LEASE=LEASE, VTASKS_MAX_RESCUES=RESCUES, MUTANT="hasty,forgiving"
    ) as it:
        verdict = poison(it, executions=RESCUES + 1)
        assert verdict.word is Word.BROKEN, verdict
        assert verdict.reasons[0] == f"executed {RESCUES + 2} times", verdict
