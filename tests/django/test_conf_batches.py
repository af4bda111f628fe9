"""Batch queues: the two settings that may name them, and what they may ask for."""

from typing import Any

import pytest

from tests.django.conftest import Change
from vtasks_asgi import conf
from vtasks_asgi.conf import options
from vtasks_asgi.core.batch import Batch
from vtasks_asgi.exceptions import ConfigurationError

GOOD: dict[str, Any] = {"count": 100, "timeout": 5.0}

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"size": 5}, r" has the unknown option 'size'; use count, timeout, task, min_count, split"),
    ({"count": None}, r"\['count'\] must be a whole number of at least 1"),
    ({"count": 0}, r"\['count'\] must be a whole number of at least 1"),
    ({"timeout": None}, r"\['timeout'\] must be a number of seconds"),
    ({"timeout": 0}, r": timeout must be a number of seconds above 0"),
    ({"task": 5}, r"\['task'\] must be a non-empty string"),
    ({"task": "load"}, r": task must be the dotted name"),
    ({"split": "maybe"}, r"\['split'\] must be True or False"),
    ({"min_count": 0}, r"\['min_count'\] must be a whole number of at least 1"),
    ({"min_count": 101}, r": min_count must be at least 1 and at most count"),
]


@pytest.mark.parametrize(("wrong", "error"), WRONG)
def test_wrong_options_are_named_in_either_setting(
    change: Change, wrong: dict[str, Any], error: str
) -> None:
    change(VTASKS_BATCH_QUEUES={"b": GOOD | wrong})
    with pytest.raises(ConfigurationError, match=rf"VTASKS_BATCH_QUEUES \['b'\]{error}"):
        options()
    change(VTASKS_BATCH_QUEUES={}, VTASKS_QUEUES={"b": {"batch": GOOD | wrong}})
    with pytest.raises(ConfigurationError, match=rf"VTASKS_QUEUES \['b'\]\['batch'\]{error}"):
        options()


@pytest.mark.parametrize("missing", sorted(GOOD))
def test_count_and_timeout_are_needed(change: Change, missing: str) -> None:
    change(VTASKS_BATCH_QUEUES={"b": {key: GOOD[key] for key in GOOD if key != missing}})
    with pytest.raises(ConfigurationError, match=missing):
        options()


def test_a_batch_queue_is_one_of_the_queues(change: Change) -> None:
    change(VTASKS_QUEUES=["default"], VTASKS_BATCH_QUEUES={"b": GOOD})
    assert options().queues == {"default": None, "b": None}
    assert options().batch_queues == {"b": Batch(100, 5.0)}


def test_a_queue_may_say_itself_that_it_is_gathered(change: Change) -> None:
    change(VTASKS_QUEUES={"a": {}, "b": {"worker_concurrency": 2, "batch": GOOD | {"task": "x.y"}}})
    assert options().queues == {"a": None, "b": 2}
    assert options().batch_queues == {"b": Batch(100, 5.0, "x.y")}


def test_environment_variables_may_name_them(
    change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    options.cache_clear()
    monkeypatch.setenv("VTASKS_BATCH_QUEUES", '{"b": {"count": 2, "timeout": 1, "split": false}}')
    assert options().batch_queues == {"b": Batch(2, 1.0, split=False)}
    options.cache_clear()


def test_a_batch_queue_may_have_slots_of_its_own(change: Change) -> None:
    change(VTASKS_QUEUES={"b": {"worker_concurrency": 2}}, VTASKS_BATCH_QUEUES={"b": GOOD})
    assert options().queues == {"b": 2}


def test_both_settings_for_one_queue_are_one_too_many(change: Change) -> None:
    change(VTASKS_QUEUES={"b": {"batch": GOOD}}, VTASKS_BATCH_QUEUES={"b": GOOD})
    [problem] = conf.problems()
    assert problem == "VTASKS_QUEUES['b']['batch'] is in VTASKS_BATCH_QUEUES too; keep one"
