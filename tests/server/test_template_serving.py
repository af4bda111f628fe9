"""A fresh project under its own ``serve.py``: static files, headers, database, the split worker."""

import re
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests import fresh_project
from tests.fresh_project import environment, get, production
from tests.processes import Process, wait_for

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(180)]

HTTPS = {"Host": "example.org", "X-Forwarded-Proto": "https"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fresh_project.create(tmp_path_factory.mktemp("serving"))


@pytest.fixture(scope="module")
def site(project: Path) -> Iterator[str]:
    """A server as behind a proxy that ends TLS."""
    with fresh_project.serving(project, production()) as (here, _):
        yield here


def test_pages_are_safe_and_redirected_to_https(site: str) -> None:
    page = get(site, **HTTPS)
    assert page.status == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["strict-transport-security"] == "max-age=3600"
    assert "Secure" in page.headers["set-cookie"]
    plain = get(site, Host="example.org")
    assert (plain.status, plain.headers["location"]) == (301, "https://example.org/")
    assert get(site, Host="evil.example", **{"X-Forwarded-Proto": "https"}).status == 400


def test_probes_need_no_host_and_no_https(site: str) -> None:
    for path in ("/vtasks/health", "/vtasks/health/live", "/vtasks/health/ready", "/metrics"):
        assert get(site + path, Host="10.0.0.7").status == 200, path


def test_static_files_are_hashed_and_served_without_django(site: str) -> None:
    page = get(site, **HTTPS).body.decode()
    (style,) = re.findall(r'href="(/static/website/page\.[0-9a-f]{12}\.css)"', page)
    reply = get(site + style)
    assert (reply.status, reply.headers["content-type"]) == (200, "text/css")
    assert "max-age=31536000" in reply.headers["cache-control"]
    assert b"color-scheme" in reply.body
    # Django would redirect this plain request to https.
    assert get(f"{site}/static/nothing.css").status == 404


def test_the_database_is_in_wal_mode(site: str, project: Path) -> None:
    with closing(sqlite3.connect(project / "data" / "db.sqlite3")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_stop_is_clean_and_the_next_start_finds_its_data(tmp_path: Path) -> None:
    project = fresh_project.create(tmp_path)
    for start in (1, 2):
        with fresh_project.serving(project, environment()) as (_, server):
            wait_for_ticks(project, start)
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            assert "Traceback" not in server.text
            assert "Warning" not in server.text
    assert len(ticks(project)) >= 2


def test_the_worker_can_be_split_off(tmp_path: Path) -> None:
    """What the README says under "When you outgrow one process": one variable, one command."""
    project = fresh_project.create(tmp_path)
    env = environment(VTASKS_EMBEDDED="off")
    with fresh_project.serving(project, env) as (here, _):
        command = [sys.executable, "manage.py", "runworker", "--scheduler"]
        worker = Process("runworker", command, project, env)
        try:
            wait_for_ticks(project, 1)
            assert get(here).status == 200
            worker.signal(signal.SIGTERM)
            assert worker.wait() == 0
        finally:
            worker.end()


def test_two_worker_processes_fire_each_tick_once(tmp_path: Path) -> None:
    project = fresh_project.create(tmp_path)
    with fresh_project.serving(project, environment(GRANIAN_WORKERS="2")) as (_, server):
        wait_for_ticks(project, 4)
        assert "Started worker-2" in server.text
    # Five seconds apart; fired twice each, four ticks would be in two moments five seconds apart.
    times = ticks(project)
    assert times[3] - times[0] > 7.5, times


def wait_for_ticks(project: Path, count: int) -> None:
    wait_for(lambda: len(ticks(project)) >= count, f"{count} ticks")


def ticks(project: Path) -> list[float]:
    """When the heartbeat ran, in seconds."""
    with closing(sqlite3.connect(project / "data" / "db.sqlite3", timeout=20)) as connection:
        query = "SELECT julianday(at) * 86400 FROM website_tick ORDER BY id"
        return [row[0] for row in connection.execute(query)]
