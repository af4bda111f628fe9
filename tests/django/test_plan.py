"""What a plan leaves out of a call's preparation changes nothing about its message."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.tasks import task_backends

from tests.django import sample
from tests.django.conftest import Change
from vtasks_asgi.backends.plan import plan_of
from vtasks_asgi.core.envelope import decode

#: Options of a message, which a plan knows nothing of; each with one that goes with it.
SPECIAL: dict[str, dict[str, Any]] = {
    "run_after": {"run_after": datetime(2030, 1, 1, tzinfo=UTC)},
    "expires": {"expires": 60.0},
    "metadata": {"metadata": {"a": 1}},
    "unique": {"unique": True},
    "unique_key": {"unique_key": "key"},
    "debounce": {"debounce": 5.0},
}

PLAIN: dict[str, dict[str, Any]] = {
    "nothing": {},
    "priority": {"priority": 7},
    "result_ttl": {"result_ttl": 5.0},
    "on_commit": {"on_commit": False},
}


@pytest.mark.parametrize("options", SPECIAL.values(), ids=SPECIAL)
def test_what_a_message_carries_makes_a_task_no_plain_one(options: dict[str, Any]) -> None:
    assert not plan_of(sample.add.using(**options)).plain


def test_an_option_it_does_not_know_makes_none_either() -> None:
    known = {field.name for field in fields(sample.add)}
    for name in known - {"func", "backend", "queue_name", "priority", "takes_context"}:
        twin = object.__new__(type(sample.add))
        for field in known:
            object.__setattr__(twin, field, getattr(sample.add, field))
        object.__setattr__(twin, name, object())
        if plan_of(twin).plain:
            assert name in {
                *("result_ttl", "max_attempts", "max_rescues", "backoff", "retry_on"),
                *("dont_retry_on", "timeout", "on_duplicate", "on_commit", "transactional"),
            }, f"{name} is in no message, or plan_of has to look at it"


@pytest.mark.parametrize("options", PLAIN.values(), ids=PLAIN)
def test_a_plain_one_is_prepared_as_any_other(options: dict[str, Any]) -> None:
    backend: Any = task_backends["default"]
    task = sample.add.using(**options)
    plan = plan_of(task)
    assert plan.plain
    plain = backend._prepared(task, (1,), {"b": [2]}, 1_800_000_000.5)
    backend.routing._sound[id(task)] = replace(plan, plain=False)
    other = backend._prepared(task, (1,), {"b": [2]}, 1_800_000_000.5)
    assert replace(plain.message, id="") == replace(other.message, id="")
    assert decode(plain.message.body) == plain.call == other.call
    assert plain.task is other.task is task


def test_a_plan_lasts_as_long_as_the_settings(change: Change) -> None:
    backend: Any = task_backends["default"]
    task = sample.add.using(priority=3)
    plan = backend.routing.plan(task)
    assert backend.routing.plan(task) is plan
    change(VTASKS_CONCURRENCY=7)
    assert backend.routing.plan(task) is not plan
