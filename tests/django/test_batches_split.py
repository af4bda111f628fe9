"""A batch that raises: halved until the culprits are alone, and nobody else has to pay."""

import asyncio
import sys
import time
from typing import Any

import pytest

from tests.django import batch_tasks
from tests.django.batch_tasks import (
    ANSWER,
    CALLS,
    Items,
    aload,
    load,
    numbers,
    once,
    poisoned,
    sizes,
)
from tests.django.conftest import Change
from tests.django.helpers import SYNC_AND_ASYNC, AnyResult, refreshed, run, working
from vtasks_asgi import Backoff, task
from vtasks_asgi.batches import GIVE_UP_AFTER, REST_PAUSE
from vtasks_asgi.core.outcome import Release
from vtasks_asgi.runtime.events import Listener, hub

BATCH: dict[str, Any] = {"count": 8, "timeout": 0.05}
#: Four that are tried again are again one batch, also when they come back one by one.
FULL: dict[str, Any] = {"count": 4, "timeout": 60.0}


@pytest.fixture(autouse=True)
def queue(change: Change) -> None:
    CALLS.clear()
    change(VTASKS_BATCH_QUEUES={"b": BATCH})


def gather(task: Any, count: int) -> list[AnyResult]:
    return [task.using(queue_name="b").enqueue(number=number) for number in range(count)]


def states(results: list[AnyResult]) -> str:
    return "".join(str(result.status)[0] for result in refreshed(*results))


def calls_but_repeated(culprit: list[int]) -> list[list[int]]:
    """The calls without the culprit's second attempt, a batch of its own that may run beside."""
    calls = numbers()
    assert calls.count(culprit) == 2
    del calls[calls.index(culprit, calls.index(culprit) + 1)]
    return calls


@SYNC_AND_ASYNC
def test_only_the_culprit_fails(kind: str) -> None:
    ANSWER[:] = [poisoned(5)]
    results = gather(aload if kind else load, 8)
    run(9)
    assert calls_but_repeated([5]) == [
        list(range(8)),
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [4, 5],
        [4],
        [5],
        [6, 7],
    ]
    assert states(results) == "SSSSSFSS"
    assert [result.attempts for result in results] == [1] * 5 + [2] + [1] * 2
    for error in results[5].errors:
        assert error.exception_class is ValueError
        assert "cannot do [5]" in error.traceback
    assert not any(result.errors for result in results[:5] + results[6:])


@pytest.mark.parametrize("culprits", [(0,), (7,), (0, 7), (2, 3), (1, 4, 6), tuple(range(8))])
def test_any_culprits_are_found(culprits: tuple[int, ...]) -> None:
    ANSWER[:] = [poisoned(*culprits)]
    results = gather(load, 8)
    run(8 + len(culprits))
    assert states(results) == "".join("F" if n in culprits else "S" for n in range(8))


def test_odd_numbers_are_halved_too() -> None:
    ANSWER[:] = [poisoned(2)]
    results = gather(load, 5)
    run(6)
    calls = [[0, 1, 2, 3, 4], [0, 1, 2], [0, 1], [2], [3, 4]]
    assert calls_but_repeated([2]) == calls
    assert states(results) == "SSFSS"


def test_a_single_message_is_not_repeated() -> None:
    ANSWER[:] = [poisoned(0)]
    results = gather(load, 1)
    run(2)
    assert sizes() == [1, 1], "its two attempts"
    assert states(results) == "F"


def test_what_the_function_did_to_its_items_is_undone_before_they_are_halved() -> None:
    def clumsy(items: Items) -> None:
        for item in items:
            item["kwargs"].pop("number")
        if len(items) > 1:
            raise ValueError

    ANSWER[:] = [clumsy]
    results = gather(load, 4)
    run(4)
    assert states(results) == "SSSS"
    assert numbers()[-1] == [3]


def test_a_function_that_cannot_be_repeated_says_so(change: Change) -> None:
    change(VTASKS_BATCH_QUEUES={"b": FULL | {"split": False}})
    ANSWER[:] = [poisoned(2)]
    results = gather(load, 4)
    run(8)
    assert sizes() == [4, 4], "two attempts of all"
    assert states(results) == "FFFF"
    traces = {error.traceback for result in results for error in result.errors}
    assert len({len(trace.splitlines()) for trace in traces}) == 1


@task(max_attempts=2, backoff=Backoff(base=1000.0))
def load_or_wait(items: Items) -> Any:
    return batch_tasks.answer(items)


def test_a_fault_that_is_not_in_the_messages_costs_few_of_them_an_attempt(change: Change) -> None:
    """As when the database is down: halving goes on until it is plain that nothing works."""
    change(VTASKS_BATCH_QUEUES={"b": BATCH | {"count": 100}})
    ANSWER[:] = [poisoned(*range(100))]
    results = gather(load_or_wait, 100)
    rest = [outcome for _, outcome in run(100) if isinstance(outcome, Release)]
    assert rest == [Release(REST_PAUSE)] * (100 - GIVE_UP_AFTER)
    assert len(CALLS) < 4 * GIVE_UP_AFTER
    attempts = [result.attempts for result in refreshed(*results)]
    assert attempts[GIVE_UP_AFTER:] == [0] * (100 - GIVE_UP_AFTER)


def test_many_culprits_among_good_ones_are_all_found(change: Change) -> None:
    """Giving up is for when nothing works at all."""
    change(VTASKS_BATCH_QUEUES={"b": BATCH | {"count": 100}})
    culprits = range(0, 100, 2)
    ANSWER[:] = [poisoned(*culprits)]
    results = gather(once, 100)
    run(100)
    assert states(results) == "FS" * 50


@SYNC_AND_ASYNC
@pytest.mark.parametrize(
    "leave", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError]
)
def test_whatever_it_raises_the_worker_lives(kind: str, leave: type[BaseException]) -> None:
    def work(items: Items) -> None:
        if items[0]["task"].endswith("load") and len(CALLS) == 1:
            raise leave

    ANSWER[:] = [work]
    results = gather(aload if kind else load, 2)
    with working():
        while "R" in states(results):
            time.sleep(0.01)
        more = gather(load, 1)
        while "R" in states(more):
            time.sleep(0.01)
    assert states([*results, *more]) == "SSS"


def test_an_exit_is_not_repeated_with_fewer(change: Change) -> None:
    change(VTASKS_BATCH_QUEUES={"b": FULL})
    ANSWER[:] = [lambda items: sys.exit(3)]
    gather(load, 4)
    run(8)
    assert sizes() == [4, 4]


class Batches(Listener):
    def __init__(self) -> None:
        self.ended: list[tuple[str, str, int, type | None]] = []

    def batch_ended(
        self, queue: str, task: str, size: int, seconds: float, error: BaseException | None
    ) -> None:
        assert seconds >= 0
        self.ended.append((queue, task, size, type(error) if error else None))


def test_every_call_is_told() -> None:
    ANSWER[:] = [poisoned(1)]
    ear = Batches()
    hub.add(ear)
    try:
        gather(load, 2)
        run(3)
    finally:
        hub.remove(ear)
    name = load.module_path
    assert ear.ended == [
        ("b", name, 2, ValueError),
        ("b", name, 1, None),
        ("b", name, 1, ValueError),
        ("b", name, 1, ValueError),
    ]
