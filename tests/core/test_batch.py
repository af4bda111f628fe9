"""Batches: what may be asked of one, what its items show, and what its function may return."""

from typing import Any

import pytest

from vtasks_asgi.core.batch import Batch, batch_item, shares
from vtasks_asgi.core.envelope import Call
from vtasks_asgi.core.errors import ResultUnserialisable


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


def test_an_item_shows_the_call() -> None:
    call = Call("a.b", [0], {"n": 0}, 0.0)
    assert batch_item("id", "q", call, attempt=2) == {
        "id": "id",
        "task": "a.b",
        "args": [0],
        "kwargs": {"n": 0},
        "queue_name": "q",
        "attempt": 2,
    }


@pytest.mark.parametrize("returned", [None, 3, 2.5, True, "3 rows"], ids=repr)
def test_what_tells_of_no_item_is_no_value_of_any(returned: Any) -> None:
    assert shares(returned, ["a", "b"]) == [None, None]


ERROR = ValueError("b is wrong")


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ([1, ERROR], [1, ERROR]),
        ((1, None), [1, None]),
        ({"b": ERROR, "a": 1}, [1, ERROR]),
        ({"b": 2}, [None, 2]),
        ({}, [None, None]),
    ],
)
def test_lists_and_mappings_tell_of_each(returned: Any, told: list[Any]) -> None:
    assert shares(returned, ["a", "b"]) == told


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        ([], "0 results for 2 items"),
        ([1, 2, 3], "3 results for 2 items"),
        ({"c": 1}, "a mapping with other keys"),
        ({"a": 1, "c": 1}, "a mapping with other keys"),
        ({1, 2}, "returned a set"),
        ((n for n in range(2)), "returned a generator"),
        (b"ab", "returned a bytes"),
    ],
    ids=repr,
)
def test_anything_else_is_a_mistake(returned: Any, error: str) -> None:
    with pytest.raises(ResultUnserialisable, match=error):
        shares(returned, ["a", "b"])


def test_no_items_have_no_shares() -> None:
    assert shares(None, []) == shares([], []) == shares({}, []) == []
