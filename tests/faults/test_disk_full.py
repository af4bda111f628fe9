"""No room on the disk, or files that may not grow: loud, degraded, and over once there is room."""

import errno
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.brokers import SQLiteFile
from tests.ledger import Verdict, Word
from tests.processes import Server, wait_for
from tests.projects import Project, project

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

#: Longer than the outage: what the store could not write meanwhile is still ours afterwards.
LEASE = 8.0
ROOM = 4 * 1024 * 1024
FILE_LIMIT = 64 * 1024


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 4 MiB in memory."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True) if os.geteuid() == 0 else None
    if mounted is None or mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted here (it takes root on Linux); a limited file can")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Not a byte of room in that file system."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (64 * 1024, 4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def limited(pid: int) -> Iterator[None]:
    """No file of that process may grow beyond 64 KiB."""
    if not hasattr(resource, "prlimit"):
        pytest.skip("only Linux changes the limits of another process")
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (FILE_LIMIT, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def outage(
    it: Project, no_room: Callable[[Server], AbstractContextManager[None]], told: str
) -> Verdict:
    """Enqueue until it fails, end a task whose outcome cannot be written, then make room."""
    server = it.granian()
    server.get("/enqueue?task=gated_sync&key=held")
    pid = server.worker()
    wait_for(lambda: it.book().in_flight(pid), "the task runs")
    broken = []
    with no_room(server):
        number = 0
        while (reply := server.get(f"/enqueue-sync?task=nap&key=k{number}&count=50")).status == 200:
            number += 1
            assert number < 400, "there is still room"
        if not any(text in reply.json()["error"] for text in told.split("|")):
            broken.append(f"the error says {reply.json()['error']}")
        it.open_gate(f"held-{pid}")
        server.wait_status("/vtasks/health/ready", 503)
        if server.get("/vtasks/health").json()["status"] != "degraded":
            broken.append(f"health says {server.get('/vtasks/health').json()}")
        wait_for(lambda: it.book().of("held")[0].end, "the task ends")
        assert server.get("/who").status == 200
    server.wait_status("/vtasks/health/ready", 200)
    assert server.get("/enqueue?task=nap&key=afterwards").status == 200
    verdict = it.verdict(silence=1, also=broken)
    assert server.worker() == pid
    return verdict


def test_a_full_disk(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk") as disk,
        project(tmp_path, SQLiteFile(disk / "db.sqlite3"), VTASKS_LEASE=LEASE) as it,
    ):
        verdict = outage(it, lambda server: filled(disk), "full")
        assert verdict.word is Word.KEPT, verdict


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    with project(tmp_path, VTASKS_LEASE=LEASE) as it:
        verdict = outage(it, lambda server: limited(server.worker()), "full|disk I/O error")
        assert verdict.word is Word.KEPT, verdict


def test_a_file_system_that_is_read_only_at_first(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk") as disk,
        project(tmp_path, SQLiteFile(disk / "db.sqlite3")) as it,
    ):
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        server = it.granian(ready=False)
        server.wait_status("/who", 200)
        pid = server.worker()
        for view in ("enqueue", "enqueue-sync"):
            reply = server.get(f"/{view}?task=nap&key={view}.refused")
            assert reply.status == 503
            assert reply.json()["error"].startswith("StoreUnavailable: ")
        assert server.get("/vtasks/health/ready").status == 503
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        server.wait_status("/vtasks/health/ready", 200)
        for view in ("enqueue", "enqueue-sync"):
            assert server.get(f"/{view}?task=nap&key={view}").status == 200
        verdict = it.verdict()
        assert verdict.word is Word.KEPT, verdict
        assert set(it.book().effects()) == {"enqueue", "enqueue-sync"}
        assert server.worker() == pid


def test_control_swallowing_the_error_of_a_settlement_is_seen(tmp_path: Path) -> None:
    with project(tmp_path, VTASKS_LEASE=LEASE, MUTANT="careless") as it:
        verdict = outage(it, lambda server: limited(server.worker()), "full|disk I/O error")
        assert verdict.word is Word.BROKEN, verdict
        assert verdict.reasons[0].startswith("run again without a fault"), verdict
        assert "held" in verdict.reasons[0]
