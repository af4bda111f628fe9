"""What a wrong interface or a wrong setting looks like, and what is none of our business."""

import base64
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import READY
from tests.ledger import Word
from tests.processes import Server, wait_for
from tests.projects import project

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(180)]


def test_a_server_without_lifespan_serves_and_says_that_nothing_works(tmp_path: Path) -> None:
    with project(tmp_path) as it:
        server = it.granian(interface="asginl", ready=False)
        server.wait_status("/who", 200)
        assert server.text.count("before ASGI lifespan startup") == 1
        assert server.get("/vtasks/health/ready").status == 503
        assert server.get("/vtasks/health").status == 503
        assert server.get("/vtasks/health/live").status == 200
        assert server.get("/metrics").status == 200
        for view in ("enqueue", "enqueue-sync"):
            assert server.get(f"/{view}?task=nap&key={view}").status == 200
        assert server.text.count("before ASGI lifespan startup") == 1, "once is enough"
        assert {row["state"] for row in it.rows()} == {READY}
        assert it.book().runs == []


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("VTASKS_LEASE", "soon", "VTASKS_LEASE"),
        ("VTASKS_BACKEND", "elsewhere", "elsewhere"),
        ("VTASKS_SCHEDULE", '{"nightly": {"task": "no.such.task", "schedule": 60}}', "nightly"),
        ("VTASKS_IMPORTS", "no.such.module", "no.such.module"),
    ],
)
def test_a_wrong_setting_ends_the_start_and_names_itself(
    tmp_path: Path, name: str, value: str, told: str
) -> None:
    setting: dict[str, Any] = {name: value}
    with project(tmp_path, **setting) as it:
        server = it.granian(ready=False)
        assert server.wait() != 0
        assert told in server.text


def test_a_runtime_that_dies_leaves_the_site_serving_and_health_telling(tmp_path: Path) -> None:
    """Granian would swallow what leaves lifespan and go on as if nothing had happened."""
    with project(tmp_path, MUTANT="dying") as it:
        server = it.granian(ready=False)
        server.wait_status("/who", 200)
        wait_for(lambda: "The task runtime died" in server.text, "the log tells")
        assert server.get("/vtasks/health/ready").status == 503
        assert server.get("/vtasks/health").json() == {"status": "stopped"}
        assert server.get("/enqueue?task=nap&key=later").status == 200
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


def test_websockets_reach_the_application(tmp_path: Path) -> None:
    with project(tmp_path) as it:
        server = it.granian()
        assert _echoed(server, "hello") == "echo hello"
        # A path of ours belongs to HTTP only.
        assert _echoed(server, "hello", path="/metrics") == "echo hello"


def _echoed(server: Server, text: str, path: str = "/socket") -> str:
    """Speak one frame of RFC 6455, and read the answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=40) as it:
        key = base64.b64encode(os.urandom(16)).decode()
        it.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
            "".encode()
        )
        stream = it.makefile("rb")
        assert b" 101 " in stream.readline()
        while stream.readline() != b"\r\n":
            pass
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(text.encode()))
        it.sendall(bytes([0x81, 0x80 | len(text)]) + mask + masked)
        _, length = stream.read(2)
        return stream.read(length).decode()


def test_the_store_may_come_later(tmp_path: Path) -> None:
    """Neither a missing nor an unmigrated database keeps the site from serving."""
    with project(tmp_path, migrated=False) as it:
        server = it.granian(ready=False)
        server.wait_status("/who", 200)
        worker = server.worker()
        assert server.get("/vtasks/health/ready").json() == {"status": "starting"}
        for view in ("enqueue", "enqueue-sync"):
            reply = server.get(f"/{view}?task=nap&key=too-early")
            assert reply.status == 503
            assert reply.json()["error"].startswith("StoreUnavailable: ")
            assert "manage.py migrate" in reply.json()["error"]
        wait_for(lambda: "store is unavailable" in server.text, "the log tells")
        it.manage("migrate", "-v0")
        server.wait_status("/vtasks/health/ready", 200)
        for view in ("enqueue", "enqueue-sync"):
            assert server.get(f"/{view}?task=nap&key={view}").status == 200
        verdict = it.verdict()
        assert verdict.word is Word.KEPT, verdict
        assert set(it.book().effects()) == {"enqueue", "enqueue-sync"}
        assert server.worker() == worker
        assert "Traceback" not in server.text
