"""Batch queues in a real worker: what the function is given, and what becomes of each message."""

import threading
from typing import Any

import pytest
from django.tasks import TaskResultStatus
from django.tasks.exceptions import InvalidTask

from tests.django import batch_tasks, sample
from tests.django.batch_tasks import ANSWER, CALLS, Items, aload, load, numbers, single, sizes
from tests.django.conftest import Change
from tests.django.helpers import (
    NO_ROWS,
    SYNC_AND_ASYNC,
    AnyResult,
    refreshed,
    rows,
    run,
    working,
)
from vtasks_asgi.core.envelope import Call, encode
from vtasks_asgi.db.models import DeadLetter, Message

BATCH: dict[str, Any] = {"count": 8, "timeout": 0.05}


@pytest.fixture(autouse=True)
def queue(change: Change) -> None:
    """``b`` is run in batches of 8; a call says nothing of its items."""
    CALLS.clear()
    batch_tasks.THREADS.clear()
    ANSWER[:] = [lambda items: None]
    change(VTASKS_BATCH_QUEUES={"b": BATCH})


def gather(task: Any, count: int) -> list[AnyResult]:
    return [task.using(queue_name="b").enqueue(number=number) for number in range(count)]


def states(results: list[AnyResult]) -> list[str]:
    return [str(result.status) for result in refreshed(*results)]


# -- what the function is given


@SYNC_AND_ASYNC
def test_one_call_gets_them_all(kind: str) -> None:
    results = gather(aload if kind else load, 5)
    run(5)
    assert [item["id"] for item in CALLS[0]] == [result.id for result in results]
    assert CALLS[0][1] == {
        "id": results[1].id,
        "task": f"tests.django.batch_tasks.{kind}load",
        "args": [],
        "kwargs": {"number": 1},
        "queue_name": "b",
        "attempt": 1,
    }
    assert sizes() == [5]
    for result in refreshed(*results):
        assert result.status is TaskResultStatus.SUCCESSFUL
        assert (result.return_value, result.attempts, result.worker_ids) == (None, 1, ["me"])
    assert rows() == NO_ROWS | {"results": 5}


def test_a_sync_function_runs_in_the_crew_and_an_async_one_on_the_loop() -> None:
    gather(load, 1)
    gather(aload, 1)
    run(2)
    crew, loop = sorted(batch_tasks.THREADS, key=lambda name: "crew" not in name)
    assert crew.startswith("vtasks-crew")
    assert loop == "test-worker"
    assert threading.current_thread().name not in batch_tasks.THREADS


def test_no_more_than_count_at_once_and_each_task_its_own() -> None:
    gather(load, 9)
    gather(aload, 2)
    run(11)
    assert sorted(sizes()) == [1, 2, 8]


def test_a_task_of_the_queue_gets_what_others_were_enqueued_for(change: Change) -> None:
    change(VTASKS_BATCH_QUEUES={"b": BATCH | {"task": load.module_path}})
    results = [single.enqueue(1, queue_name="b"), *gather(aload, 1)]  # type: ignore[call-arg]
    run(2)
    [items] = CALLS
    assert [(item["task"], item["args"], item["kwargs"]) for item in items] == [
        (single.module_path, [1], {}),
        (aload.module_path, [], {"number": 0}),
    ]
    assert states(results) == ["SUCCESSFUL"] * 2


def test_a_queue_may_have_slots_of_its_own(change: Change) -> None:
    queue = {"b": {"worker_concurrency": 1, "batch": BATCH}, "default": {}}
    change(VTASKS_QUEUES=queue, VTASKS_BATCH_QUEUES={})
    gather(load, 2)
    sample.note.enqueue("beside")
    run(3)
    assert (sizes(), sample.SEEN) == ([2], ["beside"])


@SYNC_AND_ASYNC
def test_nothing_is_left_by_one_batch_to_the_next(kind: str) -> None:
    task = getattr(batch_tasks, f"{kind}leaves_a_mess")
    with working() as worker:
        first = gather(task, 1)
        worker.ear.wait(1)
        second = gather(task, 1)
        worker.ear.wait(2)
    values = [result.return_value for result in refreshed(*first, *second)]
    assert values == [[0 if kind else False, "clean"]] * 2


# -- what it says of each


@SYNC_AND_ASYNC
def test_a_list_tells_of_each_in_order(kind: str) -> None:
    ANSWER[:] = [lambda items: [item["kwargs"]["number"] * 2 for item in items]]
    results = gather(aload if kind else load, 3)
    run(3)
    assert [result.return_value for result in refreshed(*results)] == [0, 2, 4]


def test_a_mapping_tells_of_those_it_names() -> None:
    ANSWER[:] = [lambda items: {items[1]["id"]: "second"}]
    results = gather(load, 3)
    run(3)
    assert [result.return_value for result in refreshed(*results)] == [None, "second", None]


def test_a_number_tells_of_none() -> None:
    """As the ``update`` of a queryset gives it."""
    ANSWER[:] = [lambda items: 17]
    results = gather(load, 2)
    run(2)
    assert [result.return_value for result in refreshed(*results)] == [None, None]


@SYNC_AND_ASYNC
def test_an_exception_is_the_failure_of_its_item(kind: str) -> None:
    def refuse(items: Items) -> list[Any]:
        return [ValueError("odd") if item["kwargs"]["number"] % 2 else "even" for item in items]

    ANSWER[:] = [refuse]
    results = gather(aload if kind else load, 4)
    run(6)
    # Those tried again come back one by one, and so in one batch or in two.
    again = [item for items in CALLS[1:] for item in items]
    assert numbers()[0] == [0, 1, 2, 3]
    assert sorted((item["kwargs"]["number"], item["attempt"]) for item in again) == [(1, 2), (3, 2)]
    assert states(results) == ["SUCCESSFUL", "FAILED"] * 2
    failed = results[1]
    assert [error.exception_class for error in failed.errors] == [ValueError, ValueError]
    assert "odd" in failed.errors[0].traceback
    assert failed.attempts == 2
    assert {letter.reason for letter in DeadLetter.objects.all()} == {"max_attempts"}


def test_one_exception_may_be_that_of_many() -> None:
    error = ValueError("shared")
    ANSWER[:] = [lambda items: [error for _ in items]]
    results = gather(load, 5)
    run(10)
    traces = {error.traceback for result in refreshed(*results) for error in result.errors}
    assert len({len(trace.splitlines()) for trace in traces}) == 1, "each adds to the next one's"


def test_a_value_that_cannot_be_kept_is_the_failure_of_its_item_alone() -> None:
    ANSWER[:] = [lambda items: [1, object(), 3]]
    results = gather(load, 3)
    run(3)
    assert states(results) == ["SUCCESSFUL", "FAILED", "SUCCESSFUL"]
    assert DeadLetter.objects.get().reason == "result_unserialisable"
    assert sizes() == [3]


@pytest.mark.parametrize(
    "returned", [[1], [1, 2, 3], {"nobody": 1}, {1, 2}], ids=lambda value: type(value).__name__
)
def test_a_return_value_that_tells_of_others_is_not_tried_again(returned: Any) -> None:
    """The work was done, and doing it again would not change what the function returns."""
    ANSWER[:] = [lambda items: returned]
    results = gather(load, 2)
    run(2)
    assert states(results) == ["FAILED"] * 2
    assert sizes() == [2]
    assert {letter.reason for letter in DeadLetter.objects.all()} == {"result_unserialisable"}
    assert "return None, a list" in results[0].errors[0].traceback


def test_results_are_kept_for_as_long_as_each_message_says() -> None:
    ANSWER[:] = [lambda items: [1 for _ in items]]
    load.using(queue_name="b", result_ttl=0).enqueue(number=1)  # type: ignore[call-arg]
    [kept] = gather(load, 1)
    run(2)
    assert rows() == NO_ROWS | {"results": 1}
    assert refreshed(kept)[0].return_value == 1


# -- what cannot be run


def test_bad_messages_end_alone_and_their_neighbours_run() -> None:
    gather(load, 2)
    unknown, bad = gather(load, 2)
    Message.objects.filter(uid=bad.id).update(body=b"\xff")
    Message.objects.filter(uid=unknown.id).update(
        body=encode(Call("nobody.knows", [], {}, 0.0)), attempt=0
    )
    with working() as worker:
        worker.ear.wait(3)  # the unknown one neither starts nor ends
    assert sizes() == [2]
    assert DeadLetter.objects.get().reason == "undecodable"
    parked = Message.objects.get()
    assert (parked.uid, parked.attempt, parked.history) == (unknown.id, 0, None)


def test_bad_messages_of_a_queue_with_a_task_of_its_own(change: Change) -> None:
    change(VTASKS_BATCH_QUEUES={"b": BATCH | {"task": load.module_path}})
    test_bad_messages_end_alone_and_their_neighbours_run()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("with_context", "takes a context, but a batch has as many as items"),
        ("lonely", "must take one argument, the list of items"),
    ],
)
def test_a_function_that_takes_no_list_is_refused(name: str, error: str, change: Change) -> None:
    task = getattr(batch_tasks, name)
    with pytest.raises(InvalidTask, match=f"Queue 'b' is run in batches: .*{name} {error}"):
        task.using(queue_name="b").enqueue()
    assert rows() == NO_ROWS
    change(VTASKS_BATCH_QUEUES={"b": BATCH | {"task": load.module_path}})
    task.using(queue_name="b").enqueue()  # it is load that takes the list


def test_one_enqueued_before_the_queue_was_one_of_batches_says_what_is_wrong(
    change: Change,
) -> None:
    change(VTASKS_BATCH_QUEUES={}, VTASKS_QUEUES=["default", "b"])
    results = [batch_tasks.lonely.using(queue_name="b").enqueue() for _ in "ab"]
    change(VTASKS_BATCH_QUEUES={"b": BATCH})
    run(2)
    [result, _] = refreshed(*results)
    assert "must take one argument, the list of items" in result.errors[0].traceback
