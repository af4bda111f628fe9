"""Debounced tasks: the last call of several is run, once nobody has called for a while."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.tasks import TaskResultStatus
from django.tasks.exceptions import InvalidTask
from django.tasks.signals import task_enqueued
from django.utils import timezone

from tests.django import sample
from tests.django.conftest import EACH_DATABASE
from tests.django.helpers import AnyResult, rows, run
from tests.django.unique_ways import EACH_WAY, Way
from vtasks_asgi import task
from vtasks_asgi.db.models import Message

pytestmark = EACH_DATABASE


@task(debounce=3600, debounce_max=7200, unique_key=lambda user, text="": f"digest-{user}")
def digest(user: int, text: str = "") -> None:
    sample.SEEN.append([user, text])


saved = sample.note.using(debounce=3600, unique_key="saved")


def time_passes() -> None:
    """As if every wait were over."""
    Message.objects.update(run_at=0.0)


@EACH_WAY
def test_the_latest_call_is_run_and_all_callers_have_its_result(way: Way) -> None:
    before = timezone.now().timestamp()
    results = [way(saved, number) for number in range(3)]
    ids = {result.id for result in results if result is not None}
    assert len(ids) == 1
    assert [result and result.args for result in results] == [[0], [1], [2]]
    message = Message.objects.get()
    assert message.state == Message.State.DELAYED
    assert message.run_at is not None
    assert message.run_at >= before + 3600
    time_passes()
    run(1)
    assert sample.SEEN == [2]
    done = saved.get_result(ids.pop())
    assert (done.status, done.args) == (TaskResultStatus.SUCCESSFUL, [2])


def test_each_key_waits_for_itself() -> None:
    first = digest.enqueue(1, "a")
    digest.enqueue(2, "b")
    again = digest.enqueue(1, text="c")
    assert again.id == first.id
    time_passes()
    run(2)
    assert sorted(sample.SEEN) == [[1, "c"], [2, "b"]]


def test_without_a_key_of_its_own_only_equal_calls_are_one() -> None:
    """So that no call with other arguments is ever dropped unless somebody asked for it."""
    plain = sample.note.using(debounce=3600)
    assert plain.enqueue(1).id == plain.enqueue(1).id != plain.enqueue(2).id


def test_a_call_during_the_run_is_not_lost() -> None:
    saved.enqueue(1)
    time_passes()
    Message.objects.update(state=Message.State.RUNNING, attempt=1, token="t")
    second = saved.enqueue(2)
    assert saved.enqueue(3).id == second.id
    assert rows()["messages"] == 2


def test_a_rollback_takes_the_arguments_and_the_wait_back() -> None:
    first = saved.enqueue(1)
    due = Message.objects.get().run_at
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        assert saved.enqueue(2).id == first.id
        raise ZeroDivisionError
    assert Message.objects.get().run_at == due
    assert saved.get_result(first.id).args == [1]


def test_only_the_first_is_announced() -> None:
    heard: list[Any] = []

    def hear(task_result: AnyResult, **kwargs: Any) -> None:
        heard.append(task_result.args)

    task_enqueued.connect(hear)
    try:
        saved.enqueue(1)
        saved.enqueue(2)
    finally:
        task_enqueued.disconnect(hear)
    assert heard == [[1]]


def test_it_cannot_also_run_at_a_time() -> None:
    later = saved.using(run_after=timezone.now() + timedelta(hours=1))
    with pytest.raises(InvalidTask, match=r"debounce decides when it runs; .* add debounce=0"):
        later.enqueue(1)
    assert later.using(debounce=0).enqueue(1) is not None


def test_debouncing_can_be_turned_off_for_a_call() -> None:
    digest.enqueue(1)
    assert digest.using(debounce=0).enqueue(1) is None, "its key is held"
    digest.using(unique=False).enqueue(1, "now")
    run(1)
    assert sample.SEEN == [[1, "now"]]
