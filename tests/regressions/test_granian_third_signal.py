"""A third stop signal froze Granian's worker, and one that came while it booted was lost."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import uvloop

from vtasks_asgi import granian_stop

STOPS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Those of before, put back."""
    before = {number: signal.getsignal(number) for number in STOPS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def granian(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What Granian 2.8 has under this name, its stop a list of the signals told."""

    def set_loop_signals(loop: Any) -> list[int]:
        event: list[int] = []
        for number in STOPS:
            loop.add_signal_handler(number, event.append, number)
        return event

    module = ModuleType("granian._signals")
    vars(module)["set_loop_signals"] = set_loop_signals
    monkeypatch.setitem(sys.modules, module.__name__, module)
    granian_stop.mend()
    return module


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    make: Callable[[], asyncio.AbstractEventLoop] = request.param
    loop = make()
    yield loop
    loop.close()


def tell(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def run(loop: asyncio.AbstractEventLoop, *numbers: int) -> None:
    """Let it run until signals that come meanwhile are handled for certain."""
    loop.call_soon(tell, *numbers)
    loop.run_until_complete(asyncio.sleep(0.05))


def test_it_is_told_once(granian: ModuleType, loop: asyncio.AbstractEventLoop) -> None:
    event = granian.set_loop_signals(loop)
    assert not granian_stop.heard()
    run(loop, signal.SIGINT, signal.SIGTERM, signal.SIGINT)
    run(loop, signal.SIGTERM)
    assert len(event) == 1
    assert granian_stop.heard()


def test_it_is_told_of_a_signal_between_two_runs(
    granian: ModuleType, loop: asyncio.AbstractEventLoop
) -> None:
    event = granian.set_loop_signals(loop)
    run(loop)
    tell(signal.SIGTERM)
    assert granian_stop.heard()
    run(loop)
    assert len(event) == 1


@pytest.mark.parametrize("came", [True, False])
def test_it_is_told_of_a_signal_that_the_supervisors_handler_took(
    granian: ModuleType, loop: asyncio.AbstractEventLoop, came: bool
) -> None:
    class Supervisor(SimpleNamespace):
        interrupt_signal = False

        def signal_handler_interrupt(self, *args: object) -> None:
            self.interrupt_signal = True

    signal.signal(signal.SIGTERM, Supervisor().signal_handler_interrupt)
    if came:
        tell(signal.SIGTERM)
    event = granian.set_loop_signals(loop)
    assert (len(event), granian_stop.heard()) == (came, came)
    run(loop, signal.SIGTERM)
    assert len(event) == 1


def test_it_is_mended_once(granian: ModuleType) -> None:
    mended = granian.set_loop_signals
    granian_stop.mend()
    assert granian.set_loop_signals is mended


def test_other_servers_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "granian._signals", raising=False)
    granian_stop.mend()
    assert "granian._signals" not in sys.modules
    monkeypatch.setitem(sys.modules, "granian._signals", ModuleType("granian._signals"))
    granian_stop.mend()
    assert not hasattr(sys.modules["granian._signals"], "set_loop_signals")
    assert not granian_stop.heard()
