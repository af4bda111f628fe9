"""The worker's own HTTP port, over real loopback sockets."""

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException, HTTPResponse

import pytest
from prometheus_client import CollectorRegistry, Gauge

from tests.processes import wait_for
from vtasks_asgi.core.errors import VTasksError
from vtasks_asgi.observe.exporter import (
    EVERYWHERE,
    LOOPBACK,
    MAX_CONNECTIONS,
    Exporter,
    through_loop,
)
from vtasks_asgi.observe.pages import Pages
from vtasks_asgi.runtime.health import Health, Status

TOKEN = "s3cret-token"


def pages(token: str | None = None, registry: CollectorRegistry | None = None) -> Pages:
    registry = registry or CollectorRegistry()
    Gauge("shown", "A number.", registry=registry).set(42)
    return Pages(lambda: Health(Status.DEGRADED), token=token, registry=registry)


@pytest.fixture(scope="module")
def open_port() -> Iterator[int]:
    exporter = Exporter(pages(), 0)
    exporter.start()
    yield exporter.port
    exporter.close()


@pytest.fixture(scope="module")
def guarded_port() -> Iterator[int]:
    exporter = Exporter(pages(TOKEN), 0, LOOPBACK)
    exporter.start()
    yield exporter.port
    exporter.close()


def ask(
    port: int, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/metrics", 200),
        ("GET", "/metrics?name=x", 200),
        ("GET", "/vtasks/health", 503),
        ("GET", "/vtasks/health/ready", 503),
        ("GET", "/vtasks/health/live", 200),
        ("HEAD", "/vtasks/health/live", 200),
        ("GET", "/", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/%6detrics", 404),
        ("POST", "/", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/vtasks/health", 405),
        ("BREW", "/metrics", 501),
    ],
)
def test_pages_and_refusals(open_port: int, method: str, path: str, status: int) -> None:
    assert ask(open_port, path, method)[0].status == status


def test_contents(open_port: int) -> None:
    response, body = ask(open_port, "/metrics")
    assert b"shown 42.0\n" in body
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["server"] == "vtasks"
    assert json.loads(ask(open_port, "/vtasks/health")[1]) == {"status": "degraded"}


def test_head_has_the_length_and_no_body(open_port: int) -> None:
    got, body = ask(open_port, "/metrics")
    head, nothing = ask(open_port, "/metrics", "HEAD")
    assert head.headers["content-length"] == got.headers["content-length"] == str(len(body))
    assert nothing == b""


def test_openmetrics_when_asked_for(open_port: int) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    assert ask(open_port, "/metrics", headers=accept)[1].endswith(b"# EOF\n")


def test_the_token_guards_metrics_and_details(guarded_port: int) -> None:
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert ask(guarded_port, "/metrics")[0].status == 401
    assert ask(guarded_port, "/metrics", headers={"Authorization": "Bearer x"})[0].status == 401
    assert ask(guarded_port, "/metrics", headers=right)[0].status == 200
    assert "queues" not in json.loads(ask(guarded_port, "/vtasks/health")[1])
    assert "queues" in json.loads(ask(guarded_port, "/vtasks/health", headers=right)[1])


def test_where_it_listens() -> None:
    assert Exporter(pages(), 0).address == LOOPBACK
    assert Exporter(pages(TOKEN), 0).address == EVERYWHERE
    assert Exporter(pages(), 0, "::1").address == "::1"


def test_a_taken_port_is_a_clear_error(open_port: int) -> None:
    with pytest.raises(VTasksError, match=rf"port {open_port} on 127\.0\.0\.1: is taken.*METRICS"):
        Exporter(pages(), open_port).start()


@pytest.mark.parametrize(
    ("port", "address", "words"),
    [(70_000, LOOPBACK, "cannot be opened"), (0, "192.0.2.1", "cannot be opened")],
)
def test_an_impossible_place_is_a_clear_error(port: int, address: str, words: str) -> None:
    with pytest.raises(VTasksError, match=words):
        Exporter(pages(), port, address).start()


def test_closing_lets_the_port_go_and_twice_is_legal() -> None:
    first = Exporter(pages(), 0)
    first.start()
    ask(first.port, "/metrics")
    first.close()
    first.close()
    with pytest.raises(ConnectionRefusedError):
        ask(first.port, "/metrics")
    second = Exporter(pages(), first.port)
    second.start()
    second.close()


async def test_aclose() -> None:
    exporter = Exporter(pages(), 0)
    exporter.start()
    await exporter.aclose()
    with pytest.raises(ConnectionRefusedError):
        ask(exporter.port, "/metrics")


def test_never_started_can_be_closed() -> None:
    Exporter(pages(), 0).close()


def test_connections_are_bounded_and_come_back() -> None:
    exporter = Exporter(pages(), 0)
    exporter.start()
    open_port = exporter.port
    with ExitStack() as idle:
        for _ in range(MAX_CONNECTIONS):
            idle.enter_context(socket.create_connection((LOOPBACK, open_port)))
        with socket.create_connection((LOOPBACK, open_port)) as one_more:
            assert one_more.recv(1) == b""

    def let_in() -> bool:
        try:
            return ask(open_port, "/metrics")[0].status == 200
        except (HTTPException, ConnectionError):
            return False

    wait_for(let_in, "a connection is let in again")  # the idle ones' threads end one by one
    exporter.close()


def test_an_idle_client_does_not_hold_up_others(open_port: int) -> None:
    with socket.create_connection((LOOPBACK, open_port)):
        assert ask(open_port, "/metrics")[0].status == 200


def test_a_failing_collector_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()

    class Broken:
        def collect(self) -> list[object]:
            raise ValueError("broken collector")

    registry.register(Broken())  # type: ignore[arg-type]
    exporter = Exporter(pages(registry=registry), 0)
    exporter.start()
    try:
        with caplog.at_level(logging.ERROR), pytest.raises(HTTPException):
            ask(exporter.port, "/metrics")
    finally:
        exporter.close()
    assert "broken collector" in caplog.text


async def test_health_is_asked_on_its_own_loop() -> None:
    here = threading.get_ident()
    asked: list[int] = []

    def health() -> Health:
        asked.append(threading.get_ident())
        return Health(Status.OK)

    ask_health = through_loop(health, asyncio.get_running_loop(), patience=60.0)
    assert (await asyncio.to_thread(ask_health)).ready
    assert asked == [here]


async def test_a_loop_that_does_not_answer_is_degraded() -> None:
    ask_health = through_loop(lambda: Health(Status.OK), asyncio.get_running_loop(), patience=0.01)
    health = ask_health()  # from the loop's own thread, so it cannot answer
    assert (health.status, health.problems) == (Status.DEGRADED, ["loop_blocked"])


def test_a_closed_loop_has_stopped() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    assert through_loop(lambda: Health(Status.OK), loop)().status is Status.STOPPED


async def test_an_error_of_health_reaches_who_asked() -> None:
    def health() -> Health:
        raise LookupError("a bug")

    ask_health = through_loop(health, asyncio.get_running_loop(), patience=60.0)
    with pytest.raises(LookupError, match="a bug"):
        await asyncio.to_thread(ask_health)
