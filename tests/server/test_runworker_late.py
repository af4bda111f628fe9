"""A worker told to stop leaves in time even when the store hangs."""

import signal
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from benchmarks.processes import PROC
from tests.brokers import READY
from tests.processes import wait_for
from tests.projects import project

pytestmark = [pytest.mark.server, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(120)]

DRAIN = 1.0


def has_open(pid: int, name: str) -> bool:
    """Has the process a file of this name open?"""
    found = []
    for descriptor in (PROC / str(pid) / "fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(descriptor.readlink().name)
    return name in found


def test_a_worker_whose_file_is_locked_leaves_and_loses_nothing(tmp_path: Path) -> None:
    with project(tmp_path, VTASKS_DRAIN_TIMEOUT=DRAIN) as it:
        uid = it.client().do("enqueue", "nap", "waiting", 0.0)
        with closing(sqlite3.connect(tmp_path / "db.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            worker = it.worker()
            wait_for(lambda: has_open(worker.pid, "db.sqlite3-shm"), "it has opened the file")
            time.sleep(1.0)  # it has looked by now, and waits for the lock
            told = worker.signal(signal.SIGTERM)
            assert worker.wait() == 75
            # The lock would be waited for 20 s.
            assert time.monotonic() - told < DRAIN + 2.0 + 6.0
            other.execute("ROLLBACK")
        row = it.row(uid)
        assert (row["state"], row["attempt"]) == (READY, 0)
        assert "could not stop in time" in worker.text
