"""kill -9 in the middle of batches: nothing collected or running is lost, no neighbour pays."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import READY, RUNNING, Broker
from tests.faults.test_kill import kill_repeatedly
from tests.faults.test_poison import survive
from tests.ledger import Word
from tests.processes import wait_for
from tests.projects import Project, project

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

LEASE = 2.0
RESCUES = 2
SIZE = 10
QUEUE = f'{{"b": {{"count": {SIZE}, "timeout": 0.2}}}}'
CALLS: list[Any] = [["nap_many", [0.1]], ["doze_many", [0.1]]]
#: Seconds until the last of those hit has run again, for they run one by one.
BOUND = 40.0


def most_at_once(it: Project) -> int:
    """How many messages a process was running at most when it began one."""
    book = it.book()
    return max(len(book.in_flight(run.pid, run.start)) for run in book.runs)


def test_kill_9_under_a_continuous_feed_loses_nothing(tmp_path: Path, broker: Broker) -> None:
    options: dict[str, Any] = {"VTASKS_LEASE": LEASE, "VTASKS_BATCH_QUEUES": QUEUE}
    with project(tmp_path, broker, MUTANT="hasty", **options) as it:
        verdict = kill_repeatedly(it, 3, calls=CALLS, queue="b", every=0.01, bound=BOUND)
        assert verdict.word is Word.KEPT, verdict
        assert most_at_once(it) > 2, "no batch was more than a single message"
        assert it.rows("deadletter") == []
        assert it.complaints() == []


def test_control_messages_let_go_of_before_they_have_run_are_seen_to_be_lost(
    tmp_path: Path,
) -> None:
    options: dict[str, Any] = {"VTASKS_LEASE": LEASE, "VTASKS_BATCH_QUEUES": QUEUE}
    with project(tmp_path, MUTANT="hasty,popping", **options) as it:
        verdict = kill_repeatedly(it, 1, calls=CALLS, queue="b", every=0.01)
        assert verdict.word is Word.BROKEN, verdict
        assert any(reason.startswith("lost: ") for reason in verdict.reasons), verdict


def test_what_was_only_collected_survives_too(tmp_path: Path, broker: Broker) -> None:
    """It has no start in the ledger, so the store tells that it was in hand."""
    patient = '{"b": {"count": 100, "timeout": 600}}'
    options: dict[str, Any] = {"VTASKS_LEASE": 1.0, "VTASKS_BATCH_QUEUES": QUEUE}
    with project(tmp_path, broker, **options) as it:
        client = it.client()
        keys = [f"kept.{number}" for number in range(5)]
        for key in keys:
            client.do("enqueue", "nap_many", key, 0.01, queue="b")
        stopped = it.worker(VTASKS_BATCH_QUEUES=patient)
        wait_for(lambda: states(it) == [RUNNING] * 5, "all are in hand")
        stopped.signal(signal.SIGTERM)
        assert stopped.wait() == 0
        assert states(it) == [READY] * 5
        killed = it.worker(VTASKS_BATCH_QUEUES=patient)
        wait_for(lambda: states(it) == [RUNNING] * 5, "all are in hand again")
        fault = killed.kill()
        it.worker()
        verdict = it.verdict(fault, must_hit=False)
        assert verdict.word is Word.KEPT, verdict
        assert {len(it.book().of(key)) for key in keys} == {1}


def states(it: Project) -> list[int]:
    return [row["state"] for row in it.rows()]


def test_a_poison_message_is_found_out_and_no_neighbour_is_given_up(
    tmp_path: Path, broker: Broker
) -> None:
    """Each crash is charged to all in hand: in batches again and again, they would die with it."""
    options: dict[str, Any] = {"VTASKS_LEASE": 1.0, "VTASKS_MAX_RESCUES": RESCUES}
    options["VTASKS_BATCH_QUEUES"] = QUEUE
    with project(tmp_path, broker, MUTANT="hasty", **options) as it:
        client = it.client()
        for number in range(SIZE):
            key = "poison" if number == SIZE // 2 else f"neighbour.{number}"
            client.do("enqueue", "poisoned_many", key, 0.05, queue="b")
        verdict = survive(it, executions=RESCUES + 1)
        assert verdict.word is Word.KEPT, verdict
        assert len(it.book().of("poison")) == RESCUES + 1
        assert len(it.rows("deadletter")) == 1
        runs = [len(it.book().of(f"neighbour.{n}")) for n in range(SIZE) if n != SIZE // 2]
        assert max(runs) == 2, "once with the poison, and once alone"
