"""The shortcut past Django's constructor must leave no field out."""

import copy
import pickle
from dataclasses import fields
from typing import Any

import pytest
from django import VERSION as DJANGO
from django.tasks import TaskResultStatus

from tests.django.sample import add
from vtasks_asgi import VTaskResult, results
from vtasks_asgi.core.envelope import Call
from vtasks_asgi.core.message import Message


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [([1, "a"], {}), ([], {"x": None, "y": 1.5}), ([(1, (2,))], {"deep": [{"t": (1,)}]})],
)
def test_an_accepted_result_equals_one_made_by_django(
    args: list[Any], kwargs: dict[str, Any]
) -> None:
    call = Call("tests.sample.add", args, kwargs, 1_800_000_000.5)
    result = results.accepted(add, Message("a" * 32, "default", b""), call, "default")
    expected: VTaskResult[..., Any] = VTaskResult(
        task=add,
        id="a" * 32,
        status=TaskResultStatus.READY,
        enqueued_at=results.moment(1_800_000_000.5),
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=args,
        kwargs=kwargs,
        backend="default",
        errors=[],
        worker_ids=[],
    )
    assert result == expected
    for field in fields(VTaskResult):
        assert getattr(result, field.name) == getattr(expected, field.name)


def accepted(args: list[Any]) -> VTaskResult[..., Any]:
    call = Call("tests.sample.add", args, {}, 1_800_000_000.5)
    return results.accepted(add, Message("a" * 32, "default", b""), call, "default")


def test_its_arguments_are_those_of_the_enqueue_whatever_becomes_of_the_callers() -> None:
    mine = [1]
    result = accepted([mine])
    mine.append(2)
    assert result.args == [[1]]


def test_a_field_looked_at_late_is_there_to_stay() -> None:
    result = accepted([1])
    assert result.errors is result.errors
    assert result.started_at is None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        result.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_copies_have_all_fields() -> None:
    result = accepted([1])
    for twin in (copy.copy(result), copy.deepcopy(result)):
        assert twin == result


@pytest.mark.skipif(DJANGO < (6, 1), reason="tasks can be pickled since Django 6.1")
def test_pickled_they_have_all_fields() -> None:
    result = accepted([1])
    assert pickle.loads(pickle.dumps(result)) == result
