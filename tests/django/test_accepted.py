"""The shortcut past Django's constructor must leave no field out."""

from dataclasses import fields
from typing import Any

import pytest
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
