"""``then``: the next task is enqueued when this one has succeeded, whatever happens in between."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group as Row
from django.db import transaction
from django.tasks.exceptions import InvalidTask

from tests.django.conftest import Change
from tests.django.everywhere import each_backend
from tests.django.group_tasks import (
    SAW,
    adouble,
    bigger,
    broken,
    complete,
    double,
    last,
    saw,
    shapeless,
    silent,
    stamp,
    stamp_and_fail,
    third_time_lucky,
    unique,
)
from tests.django.helpers import run, working
from vtasks_asgi import group, task
from vtasks_asgi.core.outcome import RESULT_UNSERIALISABLE
from vtasks_asgi.db.models import DeadLetter
from vtasks_asgi.tasks import backend_of

__all__ = ["each_backend"]
EVERYWHERE = pytest.mark.usefixtures("each_backend")


@pytest.fixture(autouse=True)
def nothing_seen() -> Iterator[None]:
    SAW.clear()
    yield
    SAW.clear()


@task(then=last.item("declared"))
async def first(number: int) -> int:
    return number


@EVERYWHERE
def test_the_next_one_gets_the_value() -> None:
    result = double.using(then=last.item("a", 1)).enqueue(21)
    run(2)
    assert SAW == [(["a", 1], 42)]
    result.refresh()
    assert result.return_value == 42


@EVERYWHERE
def test_a_chain_and_what_is_declared() -> None:
    chain = bigger.using(then=bigger.using(then=last.item("end")).item(by=100)).item(10)
    adouble.using(then=chain).enqueue(1)
    first.enqueue(7)
    first.using(then=()).enqueue(8)
    run(7)
    assert sorted(SAW, key=str) == [(["declared"], 7), (["end"], 112)]


@EVERYWHERE
def test_a_task_alone_stands_for_a_call_without_arguments() -> None:
    silent.using(then=last).enqueue(4)
    run(2)
    assert SAW == [([], 8)]


@EVERYWHERE
def test_after_a_failure_nothing_comes() -> None:
    broken.using(then=last).enqueue(1)
    third_time_lucky.using(then=last.item("lucky")).enqueue()
    run(5)
    assert SAW == [(["lucky"], 3)]


@EVERYWHERE
def test_in_a_group_it_is_no_member_and_a_callback_may_have_one() -> None:
    made = group(
        [adouble.using(then=last.item("of a member")).item(1)],
        on_complete=complete.using(then=last.item("of the callback")),
    )
    run(4)
    assert sorted(SAW, key=str) == sorted(
        [
            (["of a member"], 2),
            saw("complete", made.id, 1, 0, "SUCCESSFUL"),
            (["of the callback"], None),
        ],
        key=str,
    )


@EVERYWHERE
def test_in_bulk_and_in_a_batch(change: Change) -> None:
    change(VTASKS_QUEUES={"default": {}, "low": {}})
    calls = [double.using(then=last.item(number)).item(number) for number in range(5)]
    backend_of("default").enqueue_many(calls)
    run(10)
    assert sorted(SAW) == [([number], 2 * number) for number in range(5)]


@EVERYWHERE
def test_its_options_are_those_of_its_own_task(change: Change) -> None:
    change(VTASKS_QUEUES={"default": {}, "low": {}})
    after = last.using(queue_name="low", priority=7, metadata={"a": 1})
    double.using(then=after.item("x")).enqueue(1)
    assert len(run(1, queues=["default"])) == 1
    assert SAW == []
    run(1, queues=["low"])
    assert SAW == [(["x"], 2)]


@EVERYWHERE
def test_it_expires_from_when_it_is_due() -> None:
    double.using(then=last.using(expires=60).item("in time")).enqueue(1)
    double.using(then=last.using(expires=0.0001).item("too late")).enqueue(1)
    run(4)
    assert SAW == [(["in time"], 2)]


def test_a_unique_one_may_be_refused_as_ever() -> None:
    unique.enqueue("a")
    with working(queues=["default"]) as it:
        it.ear.wait(1)
    double.using(then=unique.item("b")).enqueue(1)
    run(2)


def test_a_value_that_cannot_be_handed_on_fails_the_task() -> None:
    shapeless.using(then=last, result_ttl=0).enqueue()
    shapeless.using(result_ttl=0).enqueue()
    run(2)
    assert SAW == []
    [letter] = DeadLetter.objects.all()
    assert letter.reason == RESULT_UNSERIALISABLE


# -- transactional tasks


DATABASES = pytest.mark.usefixtures("each_database")


@DATABASES
def test_it_is_part_of_a_transactional_tasks_transaction() -> None:
    stamp.using(then=last.item("after")).enqueue("one")
    stamp_and_fail.using(then=last.item("never")).enqueue("two")
    run(3)
    assert SAW == [(["after"], "one")]
    assert [row.name for row in Row.objects.all()] == ["one"]


@DATABASES
def test_a_group_of_transactional_tasks() -> None:
    made = group(
        [stamp.item("one"), stamp.item("two"), stamp_and_fail.item("three")], on_complete=complete
    )
    run(4)
    assert SAW == [saw("complete", made.id, 3, 1, "SUCCESSFUL", "SUCCESSFUL", "FAILED")]


@DATABASES
def test_a_transactional_callback_closes_its_group() -> None:
    made = group([stamp.item("one")], on_success=stamp.using(result_ttl=0).item("callback"))
    run(2)
    with working() as it:
        it.ear.wait_open()
        loop: Any = it.runtime._loop
        sweeping = it.runtime.store.sweep_groups(10, patience=0.0)
        assert asyncio.run_coroutine_threadsafe(sweeping, loop).result(20) == []
    assert made.progress().done
    assert Row.objects.count() == 2


# -- transactions, and mistakes


@EVERYWHERE
def test_a_rollback_leaves_nothing_to_come(each_backend: dict[str, Any]) -> None:
    alias = each_backend.get("OPTIONS", {}).get("DATABASE", "default")
    with transaction.atomic(using=alias):
        double.using(then=last).enqueue(1)
        transaction.set_rollback(True, using=alias)
    double.enqueue(1)
    run(1)
    assert SAW == []


def test_mistakes_are_told_where_they_are_written() -> None:
    wrong: Any
    for wrong in ("last", 5, (last,), (last, 1, {}), ("last", (), {}), [last]):
        with pytest.raises(InvalidTask, match="then must be a task, or a call of one"):
            double.using(then=wrong)
        with pytest.raises(InvalidTask, match="then must be"):
            task(then=wrong)(lambda: None)
    with pytest.raises(TypeError, match="args"):
        double.using(then=last.item(object())).enqueue(1)
    deep: Any = None
    for _ in range(62):
        deep = [deep]
    with pytest.raises(ValueError, match="nested"):
        double.using(then=last.item(deep)).enqueue(1)


def test_one_of_another_backend_is_refused(change: Change) -> None:
    memory = {"BACKEND": "vtasks_asgi.backends.memory.MemoryTaskBackend"}
    change(TASKS={"default": memory, "other": memory})
    with pytest.raises(InvalidTask, match=r"\.using\(backend='default'\)"):
        double.using(then=last.using(backend="other")).enqueue(1)
