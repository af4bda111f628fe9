"""Three processes with one schedule, one of them dying: each tick is enqueued exactly once."""

from pathlib import Path

import pytest

from tests.brokers import Broker
from tests.ledger import Fault, Verdict, Word
from tests.processes import Process, wait_for
from tests.projects import EVERY_SECOND, Project, project

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

FIRED = "Schedule each fired"


def tick(it: Project, *, window: int, kills: int) -> Verdict:
    """Let ``window`` ticks pass with three at it, killing and replacing one of them at times."""
    processes = [it.worker("--scheduler") for _ in range(3)]
    faults: list[Fault] = []
    await_ticks(it, 1)
    begun = len(it.book().ticks("each"))
    for _ in range(kills):
        victim = wait_for(lambda: _one_that_fired(processes), "a scheduler fires a tick")
        faults.append(victim.kill())
        processes[processes.index(victim)] = it.worker("--scheduler")
        await_ticks(it, len(it.book().ticks("each")) + 1)
    await_ticks(it, begun + window)
    broken = [] if sum(FIRED in p.text for p in it.processes) > 1 else ["only one ever fired"]
    # The schedule never rests: what counts is that nothing is left behind between two ticks.
    quiet = bool(wait_for(lambda: not it.rows(), "all ticks have run"))
    if missing := it.book().missing_ticks("each"):
        broken.append(f"ticks missing: {sorted(missing)}")
    return it.judged(*faults, quiet=quiet, also=broken, must_hit=False)


def await_ticks(it: Project, count: int) -> None:
    wait_for(lambda: len(it.book().ticks("each")) >= count, f"{count} ticks")


def _one_that_fired(processes: list[Process]) -> Process | None:
    return next((process for process in processes if FIRED in process.text), None)


def test_three_schedulers_fire_each_tick_once(tmp_path: Path, broker: Broker) -> None:
    with project(tmp_path, broker, VTASKS_SCHEDULE=EVERY_SECOND, PROJECT_LOG_LEVEL="DEBUG") as it:
        verdict = tick(it, window=10, kills=2)
        assert verdict.word is Word.KEPT, verdict
        assert it.complaints() == []


def test_control_without_compare_and_set_the_harness_sees_doubles(tmp_path: Path) -> None:
    with project(
        tmp_path, VTASKS_SCHEDULE=EVERY_SECOND, PROJECT_LOG_LEVEL="DEBUG", MUTANT="no_compare"
    ) as it:
        for _ in range(3):
            it.worker("--scheduler")
        # Whoever comes a moment later finds the tick fired: it takes two who are equally late.
        wait_for(lambda: it.book().duplicated(), "two fire the same tick")
        verdict = it.judged(quiet=True)
        assert verdict.word is Word.BROKEN, verdict
        assert verdict.reasons[0].startswith("run again without a fault"), verdict
