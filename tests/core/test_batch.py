"""Batches: what may be asked of one, and which calls run its items."""

from typing import Any

import pytest

from vtasks_asgi.core.batch import Batch, BatchItem, batch_item, portions
from vtasks_asgi.core.envelope import Call


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"count": 0}, "count must be at least 1"),
        ({"timeout": 0.0}, "timeout must be a number of seconds above 0"),
        ({"timeout": -1.0}, "timeout must be"),
        ({"timeout": float("nan")}, "timeout must be"),
        ({"timeout": float("inf")}, "timeout must be"),
        ({"min_count": 0}, "min_count must be at least 1 and at most count"),
        ({"min_count": 11}, "min_count must be at least 1 and at most count"),
        ({"task": "nodots"}, "task must be the dotted name of a task"),
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, Any], error: str) -> None:
    good: dict[str, Any] = {"count": 10, "timeout": 5.0}
    Batch(**good)
    with pytest.raises(ValueError, match=error):
        Batch(**good | wrong)


def items(*tasks: str) -> list[BatchItem]:
    return [
        batch_item(str(number), "q", Call(task, [number], {"n": number}, 0.0))
        for number, task in enumerate(tasks)
    ]


def test_an_item_shows_the_call() -> None:
    assert items("a.b") == [
        {"id": "0", "task": "a.b", "args": [0], "kwargs": {"n": 0}, "queue_name": "q"}
    ]


def calls(batch: Batch, *tasks: str) -> list[tuple[str, list[str]]]:
    return [(task, [item["id"] for item in got]) for task, got in portions(batch, items(*tasks))]


def test_each_task_gets_its_own_in_order() -> None:
    found = calls(Batch(10, 5.0), "x.a", "x.b", "x.a")
    assert found == [("x.a", ["0", "2"]), ("x.b", ["1"])]


def test_a_task_of_the_queue_gets_all() -> None:
    assert calls(Batch(10, 5.0, "x.all"), "x.a", "x.b") == [("x.all", ["0", "1"])]


def test_no_call_gets_more_than_count() -> None:
    found = calls(Batch(2, 5.0), "x.a", "x.a", "x.a")
    assert found == [("x.a", ["0", "1"]), ("x.a", ["2"])]


def test_no_items_no_call() -> None:
    assert calls(Batch(2, 5.0)) == []
