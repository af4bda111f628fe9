"""Limits under kill -9, by an outside ledger: never exceeded, and all work is done."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import Broker
from tests.faults.test_kill import LEASE, kill_repeatedly
from tests.ledger import Run, Word
from tests.processes import wait_for
from tests.projects import project

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(240)]

#: As in ``tests.project.tasks``.
LIMIT = 4
SECONDS = 0.3
CALLS: list[Any] = [["squeezed", [SECONDS]], ["squeezed_sync", [SECONDS]]]


def most_at_once(runs: Sequence[Run]) -> int:
    """The most runs in flight at any moment. What was killed counts as if it had gone on."""
    moments = []
    for run in runs:
        moments += [(run.start, 1), (run.end or run.cut or run.start + SECONDS, -1)]
    most = now = 0
    for _, change in sorted(moments):
        now += change
        most = max(most, now)
    return most


def test_a_concurrency_limit_is_never_exceeded_under_kill_9(tmp_path: Path, broker: Broker) -> None:
    with project(tmp_path, broker, VTASKS_LEASE=LEASE) as it:
        verdict = kill_repeatedly(it, kills=3, calls=CALLS, every=0.05, bound=30.0)
        assert verdict.word is Word.KEPT, verdict
        assert most_at_once(it.book().runs) == LIMIT
        assert it.rows("message") == []
        assert it.rows("deadletter") == []


def test_a_rate_is_kept_by_two_workers(tmp_path: Path) -> None:
    with project(tmp_path) as it:
        client = it.client()
        keys = [f"p{number}" for number in range(40)]
        for key in keys:
            client.do("enqueue", "paced", key)
        it.worker()
        it.worker()
        wait_for(lambda: not it.rows("message"), "all of them", timeout=60)
        starts = sorted(run.start for run in it.book().runs)
        assert len(starts) == len(keys)
        # What a start is early, or late after its claim, is its own affair: a window of a second.
        for first, begin in enumerate(starts):
            assert sum(begin <= start < begin + 1.0 for start in starts[first:]) <= 10 + 3
