"""``unique`` and its companions: wrong and idle options are refused where they are written."""

from typing import Any

import pytest
from django.tasks.exceptions import InvalidTask

from tests.django import sample
from tests.django.conftest import Change
from tests.django.helpers import NO_ROWS, rows
from vtasks_asgi import task
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.schedule import Entry, Every
from vtasks_asgi.core.unique import key_of_call, key_of_text


def function(number: int = 0) -> int:
    return number


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"unique": 1}, "unique must be True or False"),
    ({"unique": "yes"}, "unique must be True or False"),
    ({"unique_key": ""}, "unique_key must be a text, or a function of the task's arguments"),
    ({"unique_key": 5}, "unique_key must be a text"),
    ({"unique": True, "ttl": 0}, "ttl must be a number of seconds above 0"),
    ({"unique": True, "ttl": -1}, "ttl must be a number of seconds above 0"),
    ({"unique": True, "ttl": "60"}, "ttl must be a number of seconds above 0"),
    ({"unique": True, "ttl": True}, "ttl must be a number of seconds above 0"),
    ({"unique": True, "ttl": float("inf")}, "ttl must be a number of seconds above 0"),
    ({"unique": True, "ttl": float("nan")}, "ttl must be a number of seconds above 0"),
    ({"remove_unique_on_complete": 0}, "remove_unique_on_complete must be True or False"),
    (
        {"unique": True, "remove_unique_on_complete": False},
        "remove_unique_on_complete=False keeps the key for ttl seconds .* add ttl=60",
    ),
    ({"on_duplicate": "ignore"}, 'on_duplicate must be "reject", to get None, or "existing"'),
    ({"on_commit": 1}, "on_commit must be True or False"),
    ({"ttl": 60}, "ttl has no effect on a task that is not unique: add unique=True"),
    (
        {"ttl": 60, "remove_unique_on_complete": False},
        "ttl has no effect on a task that is not unique",
    ),
    ({"debounce": -1}, "debounce must be a number of seconds of at least 0"),
    ({"debounce": "5"}, "debounce must be a number of seconds of at least 0"),
    ({"debounce": True}, "debounce must be a number of seconds of at least 0"),
    ({"debounce": float("nan")}, "debounce must be a number of seconds"),
    ({"debounce": 5, "debounce_max": 4}, "debounce_max must be a number of seconds of at least 5"),
    ({"debounce": 5, "debounce_max": "9"}, "debounce_max must be a number of seconds"),
    ({"debounce_max": 5}, "debounce_max has no effect without debounce: add debounce=5"),
    (
        {"debounce": 5, "ttl": 60, "remove_unique_on_complete": False},
        "debounce and remove_unique_on_complete=False exclude each other: leave one out",
    ),
    ({"debounce": 5, "debounce_edge": "first"}, 'debounce_edge must be "trailing", "leading" or'),
    ({"debounce": 5, "debounce_edge": True}, 'debounce_edge must be "trailing", "leading" or "bot'),
    ({"debounce": 5, "debounce_edge": []}, 'debounce_edge must be "trailing", "leading" or "both"'),
    ({"debounce_edge": "both"}, "debounce_edge has no effect without debounce: add debounce=5, or"),
    (
        {"debounce": 5, "debounce_max": 9, "debounce_edge": "leading"},
        'debounce_max has no effect with debounce_edge="leading", .* use "both", or leave one out',
    ),
    ({"on_duplicate": "existing"}, "on_duplicate has no effect on a task that is not unique"),
]


@pytest.mark.parametrize(("options", "error"), WRONG, ids=str)
def test_a_wrong_option_is_refused_and_the_fix_named(options: dict[str, Any], error: str) -> None:
    with pytest.raises(InvalidTask, match=f"^function: {error}"):
        task(**options)(function)
    with pytest.raises(InvalidTask, match=error):
        sample.note.using(**options)


@pytest.mark.parametrize("option", ["func", "takes_context", "max_attempts", "uniqe"])
def test_using_takes_no_other_option(option: str) -> None:
    with pytest.raises(TypeError, match=f"using\\(\\) takes no '{option}'; it takes backend, "):
        sample.note.using(**{option: None})


def test_defaults() -> None:
    made = task(function)
    assert (made.unique, made.unique_key, made.ttl, made.on_commit) == (None, None, None, None)
    assert (made.remove_unique_on_complete, made.on_duplicate) == (True, "reject")
    assert not made.is_unique


def test_every_option_arrives() -> None:
    keyed: dict[str, Any] = {"unique_key": "x", "debounce": 1, "debounce_max": 1.5}
    keyed["debounce_edge"] = "both"
    options: dict[str, Any] = {
        "unique": True,
        "unique_key": "x",
        "ttl": 0.5,
        "remove_unique_on_complete": False,
        "on_duplicate": "existing",
        "on_commit": False,
    }
    for given in (options, keyed):
        for made in (task(**given)(function), task(function).using(**given)):
            assert {name: getattr(made, name) for name in given} == given


def test_a_key_makes_a_task_unique_unless_it_says_otherwise() -> None:
    keyed = task(unique_key="x")(function)
    assert keyed.is_unique
    off = keyed.using(unique=False, priority=3)
    assert not off.is_unique
    assert off.using(unique=True).is_unique
    assert not task(unique=False, unique_key="x", ttl=5)(function).is_unique


def test_debouncing_makes_a_task_unique_unless_it_says_otherwise() -> None:
    made = task(debounce=5, debounce_max=60, on_duplicate="existing")(function)
    assert made.is_unique
    assert not made.using(debounce=0).is_unique
    assert not made.using(unique=False).is_unique
    assert made.using(unique_key="x", debounce=0).is_unique


def messages_of(entry: dict[str, Any], name: str = "tests.django.sample.note") -> Message:
    from django.tasks import task_backends

    from vtasks_asgi.backends.base import VTasksBackend

    backend = task_backends["default"]
    assert isinstance(backend, VTasksBackend)
    made = Entry(name="x", task=name, schedule=Every(60), args=(1,), **entry)
    return backend.tick_message(made, 1_800_000_000.0)


def test_a_schedule_can_make_its_ticks_unique() -> None:
    assert messages_of({}).unique is None
    automatic = key_of_call("tests.django.sample.note", [1], {})
    assert messages_of({"unique": True}).unique == automatic
    assert messages_of({"unique_key": "mine"}).unique == key_of_text("mine")
    assert messages_of({"unique": True}).keep_unique is None


@task(unique=True, ttl=30, remove_unique_on_complete=False)
def throttled(number: int) -> None: ...


def test_or_take_what_the_task_says() -> None:
    name = throttled.module_path
    ticking = messages_of({}, name)
    assert (ticking.unique, ticking.keep_unique) == (key_of_call(name, [1], {}), 30)
    assert messages_of({"unique": False}, name).unique is None


@task(debounce=5, unique_key=lambda number: f"n-{number}")
def debounced(number: int) -> None: ...


@task(debounce=5, debounce_edge="both", unique_key=lambda number: f"n-{number}")
def edged(number: int) -> None: ...


@pytest.mark.parametrize("name", [debounced.module_path, edged.module_path])
def test_a_tick_of_a_debounced_task_has_its_time(name: str) -> None:
    ticking = messages_of({}, name)
    assert (ticking.debounce, ticking.keep_unique) == (None, None)
    assert ticking.unique == key_of_text("n-1")


@pytest.mark.parametrize("key", [None, "", 5, b"x"], ids=str)
def test_a_key_function_returns_text_or_nothing_is_written(key: Any, change: Change) -> None:
    wrong = sample.note.using(unique_key=lambda value: key)
    with pytest.raises(InvalidTask, match=r"sample\.note: its unique_key returned .*, not a text"):
        wrong.enqueue(1)
    assert rows() == NO_ROWS


def test_what_a_key_function_raises_reaches_the_caller() -> None:
    wrong = sample.note.using(unique_key=lambda value: value["id"])
    with pytest.raises(KeyError, match="id"):
        wrong.enqueue({})
    assert rows() == NO_ROWS
