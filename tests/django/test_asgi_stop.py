"""Stopping: signals, and a worker that does not end or ends too soon."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from tests.django.conftest import Change
from tests.django.helpers import Ear, arows
from tests.django.server import Inner, django, serving
from vtasks_asgi import granian_stop, host
from vtasks_asgi.asgi import get_worker_application
from vtasks_asgi.runtime.runtime import Runtime

pytestmark = pytest.mark.usefixtures("site")


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """The signals that reached the server's own handlers."""
    heard: list[int] = []
    before = {
        number: signal.signal(number, lambda n, frame: heard.append(n))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_signal_is_heard_at_once_and_left_to_the_server(
    number: int, handled: list[int], ear: Ear
) -> None:
    before = signal.getsignal(number)
    async with serving(get_worker_application(django())) as server:
        await asyncio.to_thread(ear.wait_open)
        os.kill(os.getpid(), number)
        await asyncio.sleep(0)
        assert handled == [number]
        ready = await server.request("/vtasks/health/ready")
        assert (ready.status, ready.body) == (503, b'{"status":"draining"}')
        assert (await server.request("/aenqueue")).status == 200, "requests go on"
    assert signal.getsignal(number) is before, "the server's handler is back"
    assert (await arows())["messages"] == 1, "nothing was claimed after the signal"


async def test_a_server_that_was_told_to_stop_while_it_booted_claims_nothing(
    handled: list[int],
) -> None:
    stop = granian_stop.Stop(asyncio.get_running_loop())
    stop.add_signal_handler(signal.SIGTERM, handled.append, -1)
    stop.tell()
    async with serving(get_worker_application(django())) as server:
        ready = await server.request("/vtasks/health/ready")
        assert (ready.status, ready.body) == (503, b'{"status":"stopped"}')
        assert (await server.request("/aenqueue")).status == 200
    assert (await arows())["messages"] == 1, "nothing was claimed"
    assert handled == [-1]


async def test_signals_nobody_handles_are_left_alone() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        async with serving(get_worker_application(django())):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_than_the_main_one(ear: Ear) -> None:
    async def main() -> None:
        async with serving(get_worker_application(django())) as server:
            await asyncio.to_thread(ear.wait_open)
            assert (await server.request("/vtasks/health/ready")).status == 200

    errors: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20.0)
    assert not thread.is_alive()
    assert errors == []


async def test_a_worker_that_does_not_end_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, change: Change, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(self: Runtime) -> None:
        await asyncio.Event().wait()

    change(VTASKS_DRAIN_TIMEOUT=0)
    monkeypatch.setattr(host, "SHUTDOWN_MARGIN", 0.02)
    monkeypatch.setattr(Runtime, "run", run)
    async with serving(get_worker_application(Inner())):
        pass
    assert "did not stop in time" in caplog.text


async def test_a_worker_that_dies_does_not_take_the_site_along(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(self: Runtime) -> None:
        raise ValueError("a bug of ours")

    monkeypatch.setattr(Runtime, "run", run)
    async with serving(get_worker_application(Inner())) as server:
        await asyncio.sleep(0)
        assert (await server.request("/anything")).status == 204
    assert "The task runtime died" in caplog.text
    assert "a bug of ours" in caplog.text
