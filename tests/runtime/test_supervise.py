"""The one restarter: what fails is told, waits and runs again; nothing but cancellation leaves."""

import asyncio
import gc
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.runtime.helpers import Recorder
from tests.runtime.virtual_time import VirtualLoop
from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.supervise import (
    BACKOFF_LAST,
    RECOVERED_AFTER,
    backoff,
    services,
    supervise,
    uninterrupted,
)

type Step = float | BaseException


@pytest.fixture(autouse=True)
def runner() -> Iterator[asyncio.Runner]:
    """Time passes at once in these tests."""
    with asyncio.Runner(loop_factory=VirtualLoop) as it:
        yield it


class Service:
    """Follows steps: sleeps a number of seconds, raises an error; returns after the last one."""

    def __init__(self, *runs: tuple[Step, ...]) -> None:
        self._runs = iter(runs)
        self.began: list[float] = []

    async def __call__(self) -> None:
        self.began.append(asyncio.get_running_loop().time())
        for step in next(self._runs):
            if isinstance(step, BaseException):
                raise step
            await asyncio.sleep(step)


def told(recorder: Recorder, name: str) -> list[str]:
    return [args[0] for args in recorder.all(name)]


async def test_a_service_that_returns_is_over() -> None:
    service, recorder = Service((1.0,)), Recorder()
    await supervise("x", service, Events([recorder]))
    assert service.began == [0.0]
    assert recorder.told == []


async def test_it_restarts_with_growing_pauses() -> None:
    failure = (ValueError("broken"),)
    service, recorder = Service(*[failure] * 12, ()), Recorder()
    await supervise("x", service, Events([recorder]))
    pauses = [b - a for a, b in zip(service.began, service.began[1:], strict=False)]
    for n, pause in enumerate(pauses):
        full = min(0.1 * 2.0**n, BACKOFF_LAST)
        assert full / 2 <= pause <= full
    assert told(recorder, "service_failed") == ["x"] * 12


def test_pauses_differ_between_processes() -> None:
    assert len({backoff(5) for _ in range(50)}) > 10


async def test_the_traceback_is_logged_once_then_a_line_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await supervise("x", Service(*[(ValueError("broken"),)] * 4, ()), Events())
    assert [bool(record.exc_info) for record in caplog.records] == [True, False, False, False]
    assert all("x" in r.getMessage() and "broken" in r.getMessage() for r in caplog.records)
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


async def test_an_unreachable_store_needs_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    await supervise("x", Service((StoreUnavailable("no route"),), ()), Events())
    [record] = caplog.records
    assert not record.exc_info
    assert "no route" in record.getMessage()


async def test_it_is_recovered_after_a_while_and_not_before() -> None:
    recorder = Recorder()
    runs = [(ValueError(),), (RECOVERED_AFTER - 0.1, ValueError()), (RECOVERED_AFTER + 0.1,)]
    await supervise("x", Service(*runs), Events([recorder]))
    assert [name for name, _ in recorder.told] == [
        "service_failed",
        "service_failed",
        "service_recovered",
    ]


async def test_a_service_that_never_failed_has_nothing_to_recover_from() -> None:
    recorder = Recorder()
    await supervise("x", Service((RECOVERED_AFTER * 10,)), Events([recorder]))
    assert recorder.told == []


async def test_after_a_good_while_the_count_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    failure = (ValueError(),)
    late = (RECOVERED_AFTER * 2, ValueError())
    service = Service(failure, failure, failure, late, failure, ())
    await supervise("x", service, Events())
    assert [bool(record.exc_info) for record in caplog.records] == [True, False, False, True, False]
    assert service.began[4] - service.began[3] <= RECOVERED_AFTER * 2 + 0.1


@pytest.mark.parametrize("runs", [[(100.0,)], [(ValueError(),), (100.0,)]], ids=["run", "pause"])
async def test_cancellation_passes(runs: list[tuple[Step, ...]]) -> None:
    task = asyncio.create_task(supervise("x", Service(*runs), Events()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelled_service_may_clean_up_and_is_waited_for() -> None:
    cleaned: list[str] = []

    async def service() -> None:
        try:
            await asyncio.sleep(100.0)
        finally:
            await asyncio.sleep(1.0)
            cleaned.append("up")

    async with services({"a": service, "b": service}, Events()):
        await asyncio.sleep(0.0)
    assert cleaned == ["up", "up"]


async def test_a_service_that_fails_when_cancelled_is_not_started_again() -> None:
    began = []

    async def service() -> None:
        began.append(1)
        try:
            await asyncio.sleep(100.0)
        finally:
            raise ValueError("while cleaning up")

    async with services({"x": service}, Events()):
        await asyncio.sleep(0.0)
    assert began == [1]


async def test_one_service_failing_leaves_the_others_alone() -> None:
    good = Service((100.0,))
    bad = Service(*[(ValueError(),)] * 1000)
    async with services({"good": good, "bad": bad}, Events()):
        await asyncio.sleep(10.0)
    assert len(good.began) == 1
    assert len(bad.began) > 3


async def test_services_end_also_when_the_body_raises() -> None:
    running = Service((100.0,))
    with pytest.raises(ZeroDivisionError):
        async with services({"x": running}, Events()):
            await asyncio.sleep(0.0)
            raise ZeroDivisionError
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert others == set()


def cancelled_during(
    work: Callable[[], Coroutine[Any, Any, str]],
) -> Coroutine[Any, Any, str]:
    """What ``uninterrupted`` gives when it is cancelled while the work goes on."""

    async def main() -> str:
        task = asyncio.create_task(uninterrupted(work()))
        await asyncio.sleep(0.5)
        task.cancel()
        return await task

    return main()


async def test_uninterrupted_work_is_done_before_the_cancellation_follows() -> None:
    done: list[float] = []

    async def work() -> str:
        await asyncio.sleep(1.0)
        done.append(asyncio.get_running_loop().time())
        return "done"

    assert await uninterrupted(work()) == "done"
    with pytest.raises(asyncio.CancelledError):
        await cancelled_during(work)
    assert done == [1.0, 2.0]


async def test_uninterrupted_work_that_fails_still_ends_in_the_cancellation() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))

    async def work() -> str:
        await asyncio.sleep(1.0)
        raise ValueError

    with pytest.raises(asyncio.CancelledError):
        await cancelled_during(work)
    gc.collect()
    assert complaints == [], "its error was left for the garbage collector to report"


async def test_a_stray_cancellation_is_a_failure_like_any_other() -> None:
    """Nobody asked the service to end: a future it waited for was cancelled elsewhere."""
    service, recorder = Service((asyncio.CancelledError(),), (1.0,)), Recorder()
    await supervise("x", service, Events([recorder]))
    assert len(service.began) == 2
    assert told(recorder, "service_failed") == ["x"]
