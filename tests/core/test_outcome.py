"""History survives the trip, and damage to it never costs the message."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.strategies import JSON, TEXT
from vtasks_asgi.core.outcome import Attempt, dump_history, load_history

TIMES = st.floats(min_value=0, max_value=1e11)
ATTEMPTS = st.builds(Attempt, TEXT, TIMES) | st.builds(Attempt, TEXT, TIMES, TEXT, TEXT)


@given(st.lists(ATTEMPTS, max_size=6))
def test_history_comes_back_unchanged(attempts: list[Attempt]) -> None:
    assert load_history(dump_history(attempts)) == attempts


@pytest.mark.parametrize("nothing", [None, b"", b"[]"])
def test_no_history_is_an_empty_one(nothing: bytes | None) -> None:
    assert load_history(nothing) == []


def test_text_that_is_not_unicode_is_escaped_rather_than_lost() -> None:
    attempt = Attempt("w", 5.0, "OSError", "no such file: caf\udce9")
    assert load_history(dump_history([Attempt("w", 4.0), attempt])) == [
        Attempt("w", 4.0),
        Attempt("w", 5.0, "OSError", "no such file: caf\\udce9"),
    ]


@given(st.binary(max_size=60) | JSON.map(orjson.dumps))
def test_damaged_history_is_dropped_or_sound(raw: bytes) -> None:
    for attempt in load_history(raw):
        assert isinstance(attempt.worker, str)
        assert isinstance(attempt.started_at, int | float)
        assert isinstance(attempt.error, str | None)
        assert isinstance(attempt.traceback, str | None)


@pytest.mark.parametrize(
    "rows",
    [
        5,
        "text",
        {"a": 1},
        ["ab"],
        [["w"]],
        [["w", "then"]],
        [["w", True]],
        [[None, 5.0]],
        [["w", 5.0, 7]],
        [["w", 5.0, "E", {}]],
        [["w", 5.0, "E", "tb", "more"]],
        [["w", 5.0], None],
        [{"worker": "w", "started_at": 5.0}],
    ],
)
def test_history_of_another_shape_is_dropped(rows: Any) -> None:
    assert load_history(orjson.dumps(rows)) == []


@given(st.lists(ATTEMPTS, min_size=1, max_size=4), st.data())
def test_history_cut_short_is_dropped(attempts: list[Attempt], data: st.DataObject) -> None:
    raw = dump_history(attempts)
    cut = data.draw(st.integers(min_value=0, max_value=len(raw) - 1))
    assert load_history(raw[:cut]) == []
