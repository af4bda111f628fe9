"""Respawns: Granian starts the new worker, waits 3.5 s, then stops the old one.

Two generations of one process are the normal case, so neither may lose or double anything.
"""

import os
import signal
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.ledger import Book, Word
from tests.processes import Process, Server, wait_for
from tests.projects import EVERY_SECOND, project

pytestmark = [pytest.mark.server, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

CALLS: list[Any] = [["nap", [0.2]], ["doze", [0.2]]]


def respawn(server: Server) -> None:
    """SIGHUP, and wait until the old worker is gone."""
    gone = server.text.count("Stopped old worker-1")
    server.signal(signal.SIGHUP)
    wait_for(lambda: server.text.count("Stopped old worker-1") > gone, "the old worker is gone")


def overlapped(book: Book) -> bool:
    """Did two generations run tasks at the same time? Else nothing was shown."""
    lives: dict[int, list[float]] = {}
    for run in book.runs:
        lives.setdefault(run.pid, []).append(run.start)
    spans = sorted((min(starts), max(starts)) for starts in lives.values())
    return any(later[0] < earlier[1] for earlier, later in pairwise(spans))


def test_two_generations_lose_and_double_nothing(tmp_path: Path) -> None:
    with project(tmp_path, VTASKS_SCHEDULE=EVERY_SECOND) as it:
        server = it.granian()
        client = it.client()
        client.do("feed", "f", CALLS, 0.01)
        first = server.worker()
        for _ in range(2):
            respawn(server)
        ticks = len(it.book().ticks("each"))
        wait_for(lambda: len(it.book().ticks("each")) > ticks, "the schedule goes on")
        client.do("rest")
        verdict = it.verdict(silence=1.5, also=[] if overlapped(it.book()) else ["no overlap"])
        assert verdict.word is Word.KEPT, verdict
        assert it.book().missing_ticks("each") == set()
        assert len({run.pid for run in it.book().runs}) == 3
        assert server.worker() != first
        assert it.complaints() == []


def test_a_killed_worker_is_respawned_and_its_work_run_again(tmp_path: Path) -> None:
    with project(tmp_path, VTASKS_LEASE=2) as it:
        server = it.granian("--respawn-failed-workers")
        first = server.worker()
        for task in ("gated", "gated_sync"):
            assert server.get(f"/enqueue?task={task}&key={task}").status == 200
        wait_for(lambda: len(it.book().in_flight(first)) == 2, "both run")
        fault = server.kill(first)
        second = wait_for(lambda: _other_worker(server, first), "another worker answers")
        for task in ("gated", "gated_sync"):
            it.open_gate(f"{task}-{second}")
        verdict = it.verdict(fault, silence=4)
        assert verdict.word is Word.KEPT, verdict
        assert it.book().duplicated() == set()


def _other_worker(server: Server, first: int) -> int | None:
    reply = server.answers("/who")
    pid = int(reply.json()["pid"]) if reply else first
    return None if pid == first else pid


@pytest.mark.parametrize("what", ["granian", "runworker"])
def test_a_stop_while_booting(tmp_path: Path, what: str) -> None:
    """Whatever moment of its start the signal meets, the process ends and holds nothing."""
    with project(tmp_path) as it:
        client = it.client()
        for number in range(200):
            client.do("enqueue", "nap", f"k{number}")
        for after in (0.05, 0.2, 0.35, 0.5):
            process: Process
            if what == "granian":
                process = it.granian("--workers-kill-timeout=60", ready=False)
            else:
                process = it.worker(ready=False)
            time.sleep(after)
            process.signal(signal.SIGTERM)
            process.wait()
            for row in it.rows():
                assert row["token"] is None, f"still claimed: {row}"
                assert row["attempt"] == 0
            # Whoever has just ended is there until somebody has taken note.
            wait_for(partial(_gone, process.pid), "nothing of the process group is left")
        it.worker()
        verdict = it.verdict()
        assert verdict.word is Word.KEPT, verdict


def _gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False
