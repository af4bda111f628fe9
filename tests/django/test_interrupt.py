"""Interrupts reach the call they are meant for, and nothing that its thread does afterwards."""

import queue
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from vtasks_asgi import interrupt
from vtasks_asgi.core.errors import TaskInterrupt
from vtasks_asgi.interrupt import Interruptible

PATIENCE = 20.0


class Worker:
    """A thread that does one thing after the other; ``stray`` are interrupts that hit no call."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self.ends: Counter[str] = Counter()
        self.stray: list[BaseException] = []
        self.done = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def give(self, job: Callable[[], object]) -> None:
        self._jobs.put(job)

    def wait(self) -> None:
        assert self.done.acquire(timeout=PATIENCE), "the thread is dead or stuck"

    def end(self) -> None:
        self._jobs.put(None)
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                self._do(job)
                for _ in range(50):  # what comes next in this thread
                    pass
                self.done.release()
        except BaseException as error:  # noqa: BLE001 - what the tests are about
            self.stray.append(error)

    def _do(self, job: Callable[[], object]) -> None:
        try:
            job()
        except TaskInterrupt:
            self.ends["interrupted"] += 1
        else:
            self.ends["returned"] += 1


@pytest.fixture
def worker() -> Iterator[Worker]:
    it = Worker()
    yield it
    it.end()
    assert it.stray == []


def until(moment: float) -> None:
    while time.perf_counter() < moment:
        pass


def test_a_call_that_runs_is_interrupted(worker: Worker) -> None:
    began = threading.Event()

    def work() -> None:
        began.set()
        until(time.perf_counter() + PATIENCE)

    it = Interruptible(work)
    worker.give(it)
    assert began.wait(PATIENCE)
    it.interrupt()
    worker.wait()
    assert worker.ends == {"interrupted": 1}


def test_a_call_interrupted_before_it_begins_does_nothing(worker: Worker) -> None:
    done: list[int] = []
    it = Interruptible(lambda: done.append(1))
    it.interrupt()
    worker.give(it)
    worker.wait()
    assert (worker.ends, done) == ({"interrupted": 1}, [])


def test_a_call_that_has_ended_is_not(worker: Worker) -> None:
    it = Interruptible(lambda: None)
    worker.give(it)
    worker.wait()
    it.interrupt()
    worker.give(Interruptible(lambda: None))
    worker.wait()
    assert worker.ends == {"returned": 2}


def test_what_it_returns_or_raises_is_the_calls_own() -> None:
    assert Interruptible(lambda: 7)() == 7
    with pytest.raises(KeyError):
        Interruptible({}.popitem)()


def test_its_end_waits_for_an_interrupt_that_is_under_way(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the exception would be set when the thread does something else already."""
    chosen, go, ended = threading.Event(), threading.Event(), threading.Event()
    really = interrupt._raise_in

    def late(thread: int, kind: type[BaseException] | None) -> None:
        if kind is not None:
            chosen.set()
            assert go.wait(PATIENCE)
        really(thread, kind)

    monkeypatch.setattr(interrupt, "_raise_in", late)
    began, finish = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        finish.wait(PATIENCE)

    def job() -> None:
        try:
            it()
        finally:
            ended.set()

    it = Interruptible(work)
    worker.give(job)
    assert began.wait(PATIENCE)
    other = threading.Thread(target=it.interrupt)
    other.start()
    assert chosen.wait(PATIENCE)
    finish.set()
    assert not ended.wait(0.05), "it has ended, and the exception is yet to come"
    go.set()
    worker.wait()
    other.join(PATIENCE)
    assert sum(worker.ends.values()) == 1


@pytest.mark.slow
def test_interrupts_that_race_with_ends_never_stray(worker: Worker) -> None:
    """Thousands that arrive while the call is just ending; seen to fail without the waiting."""
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        stop, ends = time.monotonic() + 4.0, worker.ends
        while time.monotonic() < stop or min(ends["interrupted"], ends["returned"]) <= 10:
            begin = time.perf_counter() + 1e-4
            end = begin + random.random() * 2e-4
            it = Interruptible(partial(until, end))
            worker.give(it)
            until(end + random.uniform(-3e-5, 3e-5))
            it.interrupt()
            worker.wait()
    finally:
        sys.setswitchinterval(switching)
