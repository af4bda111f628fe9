"""Debounced tasks whose first call runs at once: alone, or with the last one after it."""

from typing import Any

import pytest
from django.db import transaction
from django.tasks.signals import task_enqueued

from tests.django import sample
from tests.django.conftest import EACH_DATABASE
from tests.django.helpers import AnyResult, rows, run
from tests.django.unique_ways import EACH_WAY, Way, many
from vtasks_asgi.db.models import Message, UniqueKey

pytestmark = EACH_DATABASE

leading = sample.note.using(debounce=3600, debounce_edge="leading", unique_key="edge")
both = sample.note.using(debounce=3600, debounce_max=7200, debounce_edge="both", unique_key="edge")


def time_passes() -> None:
    """As if every wait were over."""
    Message.objects.filter(run_at__isnull=False).update(run_at=0.0)
    UniqueKey.objects.update(until=0.0)


@EACH_WAY
def test_leading_runs_the_first_and_absorbs_the_rest(way: Way) -> None:
    assert way(leading, 1)
    assert way(leading, 2) is None
    run(1)
    assert way(leading, 3) is None, "the wait is not over, though the run is"
    assert rows()["messages"] == 0
    time_passes()
    assert way(leading, 4)
    run(1)
    assert sample.SEEN == [1, 4]


def test_leading_can_answer_with_the_run_that_there_is() -> None:
    existing = leading.using(on_duplicate="existing")
    first = existing.enqueue(1)
    second = existing.enqueue(2)
    assert first is not None
    assert second is not None
    assert (second.id, second.args) == (first.id, [1])


@EACH_WAY
def test_both_runs_the_first_at_once_and_the_latest_at_the_end(way: Way) -> None:
    first = way(both, 1)
    run(1)
    later = [way(both, number) for number in (2, 3)]
    assert first is not None
    assert None not in later
    assert len({result.id for result in later if result}) == 1
    message = Message.objects.get()
    assert message.state == Message.State.DELAYED
    assert message.uid != first.id
    time_passes()
    run(1)
    assert sample.SEEN == [1, 3]
    way(both, 4)
    run(1)
    assert sample.SEEN == [1, 3, 4]


def test_both_runs_once_if_nobody_calls_again() -> None:
    both.enqueue(1)
    run(1)
    assert rows()["messages"] == 0


def test_calls_before_the_first_run_has_begun_are_one_with_it() -> None:
    """Its arguments are then the latest already, so there is nothing to run later."""
    answers = many([(both, [number], {}) for number in range(3)])
    assert len({result.id for result in answers if result}) == 1
    both.enqueue(3)
    run(1)
    assert sample.SEEN == [3]
    assert rows()["messages"] == 0


@pytest.mark.parametrize("task", [leading, both], ids=["leading", "both"])
def test_a_rollback_takes_the_first_call_back(task: Any) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        assert task.enqueue(1)
        raise ZeroDivisionError
    assert task.enqueue(2)
    run(1)
    assert sample.SEEN == [2]


def test_what_runs_is_announced() -> None:
    heard: list[Any] = []

    def hear(task_result: AnyResult, **kwargs: Any) -> None:
        heard.append(task_result.args)

    task_enqueued.connect(hear)
    try:
        both.enqueue(1)
        run(1)
        both.enqueue(2)
        both.enqueue(3)
        leading.enqueue(4)
    finally:
        task_enqueued.disconnect(hear)
    assert heard == [[1], [2]]


def test_it_can_be_turned_off_for_a_call() -> None:
    both.enqueue(1)
    assert both.using(debounce=0).enqueue(2) is None, "its key is held"
    both.using(unique=False).enqueue(3)
    run(2)
    assert sorted(sample.SEEN) == [1, 3]
