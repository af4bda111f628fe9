"""The hub: everybody hears everything they care about, and harms nobody."""

import logging

import pytest

from tests.runtime.helpers import Recorder
from vtasks_asgi.runtime import events
from vtasks_asgi.runtime.events import Events, Listener


class Broken(Listener):
    def evicted(self, queue: str, count: int) -> None:
        raise ValueError("broken listener")

    def service_recovered(self, service: str) -> None:
        raise KeyError("broken too")


class Loud(Listener):
    """Cares about one thing only."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []

    def evicted(self, queue: str, count: int) -> None:
        self.heard.append((queue, count))


def test_every_event_reaches_every_listener_that_wants_it() -> None:
    first, second, recorder = Loud(), Loud(), Recorder()
    hub = Events([first, second, recorder])
    hub.evicted("q", 3)
    hub.service_recovered("x")
    assert first.heard == second.heard == [("q", 3)]
    assert recorder.told == [("evicted", ("q", 3)), ("service_recovered", ("x",))]


def test_the_hub_tells_every_event_a_listener_can_hear() -> None:
    recorder = Recorder()
    hub = Events([recorder])
    names = [name for name in vars(Listener) if not name.startswith("_")]
    for name in names:
        getattr(hub, name)("anything")
    assert [name for name, _ in recorder.told] == names
    assert len(names) >= 10


def test_a_listener_that_raises_harms_nobody_and_is_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loud = Loud()
    hub = Events([Broken(), loud])
    for count in range(3):
        hub.evicted("q", count)
    assert loud.heard == [("q", 0), ("q", 1), ("q", 2)]
    [line] = caplog.records
    assert "Broken.evicted" in line.getMessage()
    assert (line.levelno, bool(line.exc_info)) == (logging.ERROR, True)
    hub.service_recovered("x")
    assert len(caplog.records) == 2, "another of its methods is another fault"


def test_listeners_come_and_go() -> None:
    loud, hub = Loud(), Events()
    hub.evicted("q", 1)
    hub.add(loud)
    hub.evicted("q", 2)
    hub.remove(loud)
    hub.evicted("q", 3)
    assert loud.heard == [("q", 2)]


def test_an_event_nobody_hears_costs_no_call() -> None:
    loud = Loud()
    hub = Events([loud])
    assert hub.service_recovered is events._nobody
    assert hub.evicted is not events._nobody
