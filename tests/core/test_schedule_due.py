"""Ticks fire as their policy says, and no clock makes one fire twice."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtasks_asgi.core.schedule import (
    Entry,
    Every,
    parse_entry,
)

MINIMAL: dict[str, Any] = {"task": "shop.tasks.report", "schedule": 3600}


def every(seconds: float, **options: Any) -> Entry:
    return Entry(name="x", task="a.b", schedule=Every(seconds), **options)


@pytest.mark.parametrize("misfire", ["latest", "skip", "all"])
def test_a_schedule_new_to_the_store_does_not_fire(misfire: Any) -> None:
    assert every(10, misfire=misfire).due(1000.0, None) == []


@pytest.mark.parametrize(
    ("options", "now", "last", "due"),
    [
        ({}, 109.9, 100, []),
        ({}, 110.0, 100, [110]),
        ({}, 119.9, 100, [110]),
        ({}, 119.9, 110, []),
        ({}, 1000.5, 100, [1000]),
        ({"misfire": "all"}, 135.0, 100, [110, 120, 130]),
        ({"misfire": "all"}, 2000.0, 100, [float(at) for at in range(1010, 2001, 10)]),
        ({"misfire": "all", "max_catch_up": 2}, 135.0, 100, [120, 130]),
        ({"misfire": "all", "misfire_grace_time": 16}, 135.0, 100, [120, 130]),
        ({"misfire": "skip", "misfire_grace_time": 4}, 113.9, 100, [110]),
        ({"misfire": "skip", "misfire_grace_time": 4}, 114.1, 100, []),
        ({"misfire": "latest", "misfire_grace_time": 4}, 114.1, 100, []),
        # The clock stepped back, or the last tick came from a clock that was ahead.
        ({}, 95.0, 100, []),
        ({"misfire": "all"}, 50.0, 100, []),
        ({"misfire": "all"}, 105.0, 100, []),
    ],
)
def test_what_is_due(options: dict[str, Any], now: float, last: float, due: list[float]) -> None:
    assert every(10, **options).due(now, last) == due


def test_skip_forgives_a_minute_unless_told_otherwise() -> None:
    entry = parse_entry("x", MINIMAL | {"misfire": "skip"})
    assert entry.due(7259.0, 3600.0) == [7200.0]
    assert entry.due(7261.0, 3600.0) == []
    longer = parse_entry("x", MINIMAL | {"misfire": "skip", "misfire_grace_time": timedelta(0, 90)})
    assert longer.due(7261.0, 3600.0) == [7200.0]


def test_catching_up_on_years_costs_no_more_than_its_limit() -> None:
    looks = 0

    class Counted(Every):
        __slots__ = ()

        def last_boundary(self, now: float) -> float:
            nonlocal looks
            looks += 1
            return super().last_boundary(now)

    entry = Entry(name="x", task="a.b", schedule=Counted(1), misfire="all", max_catch_up=100)
    assert len(entry.due(2e9, 1e9)) == 100
    assert looks <= 101


STEPS = st.lists(st.floats(min_value=-500, max_value=500), min_size=1, max_size=40)


@given(
    STEPS,
    st.sampled_from(["latest", "skip", "all"]),
    st.none() | st.floats(min_value=1, max_value=300),
    st.integers(1, 5),
)
def test_no_clock_makes_a_tick_fire_twice_or_out_of_order(
    steps: list[float], misfire: Any, grace: float | None, limit: int
) -> None:
    entry = every(7, misfire=misfire, misfire_grace_time=grace, max_catch_up=limit)
    now, last, fired = 1000.0, 994.0, [994.0]
    for step in steps:
        now += step
        due = entry.due(now, last)
        assert len(due) <= (limit if misfire == "all" else 1)
        assert all(at <= now and at % 7 == 0 for at in due)
        assert grace is None or all(now - at < grace for at in due)
        fired += due
        last = fired[-1]
    assert fired == sorted(set(fired))
