"""The liveness file: fresh while healthy, gone at the end, clear when it cannot be written."""

import asyncio
import os
from pathlib import Path

import pytest

from vtasks_asgi.core.errors import VTasksError
from vtasks_asgi.observe.health_file import HealthFile
from vtasks_asgi.runtime.health import Health, Status


def health_file(path: Path, status: Status = Status.OK) -> HealthFile:
    return HealthFile(path, lambda: Health(status))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "healthy"


@pytest.mark.parametrize("status", list(Status))
def test_only_a_healthy_worker_writes(path: Path, status: Status) -> None:
    healthy = status in (Status.OK, Status.DRAINING)
    assert health_file(path, status).beat() is healthy
    assert path.exists() is healthy


def test_a_beat_makes_the_file_young_again(path: Path) -> None:
    it = health_file(path)
    it.beat()
    os.utime(path, (1.0, 1.0))
    it.beat()
    assert path.stat().st_mtime > 1.0
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.read_text().split()[:2] == ["ok", str(os.getpid())]
    assert os.listdir(path.parent) == [path.name]


def test_a_worker_that_falls_ill_lets_the_file_age(path: Path) -> None:
    status = Status.OK
    it = HealthFile(path, lambda: Health(status))
    it.beat()
    os.utime(path, (1.0, 1.0))
    status = Status.DEGRADED
    it.beat()
    assert path.stat().st_mtime == 1.0


def test_removing_twice_or_before_writing_is_legal(path: Path) -> None:
    it = health_file(path)
    it.remove()
    it.beat()
    it.remove()
    it.remove()
    assert not path.exists()


def test_a_successors_file_is_left_alone(path: Path) -> None:
    old, new = health_file(path), health_file(path, Status.DRAINING)
    old.beat()
    new.beat()
    old.remove()
    assert path.exists()
    new.remove()
    assert not path.exists()


def test_a_planted_symlink_is_replaced_not_followed(path: Path) -> None:
    target = path.with_name("precious")
    target.write_text("keep me")
    path.symlink_to(target)
    health_file(path).beat()
    assert target.read_text() == "keep me"
    assert not path.is_symlink()


def test_run_writes_until_cancelled(path: Path) -> None:
    asyncio.run(run_and_cancel(path))
    assert not path.exists()


async def run_and_cancel(path: Path) -> None:
    looked = asyncio.Event()

    def health() -> Health:
        looked.set()
        return Health(Status.OK)

    running = asyncio.create_task(HealthFile(path, health, interval=0.01).run())
    for _ in range(3):
        looked.clear()
        await looked.wait()
    assert await asyncio.to_thread(path.exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize(("name", "reason"), [("no/such/file", "No such file"), ("", "directory")])
def test_what_cannot_be_written_is_a_clear_error(tmp_path: Path, name: str, reason: str) -> None:
    it = health_file(tmp_path / name if name else tmp_path)
    with pytest.raises(VTasksError, match=rf"VTASKS_HEALTH_CHECK_FILE .*{reason}"):
        it.check()
    with pytest.raises(VTasksError, match=r"VTASKS_HEALTH_CHECK_FILE .* cannot be written"):
        it.beat()
    assert os.listdir(tmp_path) == []


def test_checking_leaves_nothing_behind(path: Path) -> None:
    health_file(path).check()
    assert os.listdir(path.parent) == []
