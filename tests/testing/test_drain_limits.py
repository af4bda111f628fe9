"""``drain`` keeps limits: a rate lets time pass, and what has none runs at once."""

from datetime import timedelta

import pytest

from tests.django import sample
from vtasks_asgi.backends.memory import MemoryTaskBackend
from vtasks_asgi.testing import drain, enqueued, immediate_tasks

type Memory = MemoryTaskBackend

MINUTE = timedelta(minutes=1)
slow = sample.note.using(rate_limit="6/m")
single = sample.note.using(concurrency_limit=1)


def test_what_may_not_start_yet_stays_and_the_others_run(vtasks: Memory) -> None:
    for number in range(3):
        slow.enqueue(number)
    sample.note.enqueue("free")
    assert len(drain()) == 2
    assert sample.SEEN == [0, "free"]
    assert drain() == []
    assert len(enqueued()) == 2


def test_time_that_passes_lets_them_start_at_their_pace(vtasks: Memory) -> None:
    for number in range(3):
        slow.enqueue(number)
    ran = [len(drain()), *(len(drain(advance=timedelta(seconds=5))) for _ in range(5))]
    assert ran == [1, 0, 1, 0, 1, 0]
    assert sample.SEEN == [0, 1, 2]


def test_a_long_journey_runs_all_of_them_in_order(vtasks: Memory) -> None:
    for number in range(10):
        slow.enqueue(number)
    assert len(drain(advance=MINUTE / 2)) == 4
    assert len(drain(advance=10 * MINUTE)) == 6
    assert sample.SEEN == list(range(10))


def test_one_at_a_time_is_what_drain_does_anyway(vtasks: Memory) -> None:
    for number in range(5):
        single.enqueue(number)
    assert len(drain()) == 5
    assert sample.SEEN == list(range(5))


@pytest.mark.usefixtures("vtasks")
def test_run_within_the_enqueue_they_are_not_limited() -> None:
    with immediate_tasks():
        for number in range(3):
            slow.enqueue(number)
            single.enqueue(number)
    assert sample.SEEN == [0, 0, 1, 1, 2, 2]
