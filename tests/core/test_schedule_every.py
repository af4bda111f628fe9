"""Periods are counted from the epoch, exactly, so that processes agree on every boundary."""

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtasks_asgi.core.schedule import Every

PERIODS = st.floats(min_value=1, max_value=366 * 86400) | st.integers(1, 366 * 86400)
TIMES = st.floats(min_value=0, max_value=4e9)


@given(PERIODS, TIMES)
def test_now_lies_between_two_neighbouring_boundaries(seconds: float, now: float) -> None:
    every = Every(seconds)
    last, upcoming = every.last_boundary(now), every.next_boundary(now)
    assert last <= now < upcoming
    assert upcoming - last == pytest.approx(seconds, abs=1e-6)
    assert every.last_boundary(upcoming) == upcoming
    assert every.next_boundary(last) == upcoming
    assert every.last_boundary(math.nextafter(upcoming, 0)) == last


@given(PERIODS, TIMES)
def test_boundaries_survive_a_store_that_keeps_microseconds(seconds: float, now: float) -> None:
    boundary = Every(seconds).last_boundary(now)
    assert round(boundary, 6) == boundary


@given(PERIODS, TIMES, TIMES)
def test_two_processes_agree(seconds: float, one: float, other: float) -> None:
    early, late = sorted((one, other))
    boundary = Every(seconds).last_boundary(late)
    if boundary <= early:
        assert Every(seconds).last_boundary(early) == boundary
    else:
        assert Every(seconds).next_boundary(early) <= boundary


def test_boundaries_are_multiples_of_the_period_since_the_epoch() -> None:
    assert Every(3600).last_boundary(1_800_003_599.5) == 1_800_000_000
    assert Every(90).next_boundary(0) == 90
    assert Every(1.5).boundaries(0, 6, limit=10) == [1.5, 3.0, 4.5, 6.0]
    assert Every(0.1 + 1).boundaries(0, 3.3, limit=10) == [1.1, 2.2, 3.3]


def test_a_boundary_whose_float_lies_below_its_microseconds_is_reached_in_time() -> None:
    boundary = 5695639 * 47_287_203 / 1_000_000
    assert int(boundary * 1_000_000) // 47_287_203 == 5695638  # what the guess alone would say
    assert Every(47.287203).last_boundary(boundary) == boundary


def test_boundaries_are_the_latest_ones_after_the_first_and_up_to_the_last() -> None:
    assert Every(10).boundaries(10, 50, limit=3) == [30, 40, 50]
    assert Every(10).boundaries(10, 30, limit=3) == [20, 30]
    assert Every(10).boundaries(30, 30, limit=3) == []
    assert Every(10).boundaries(50, 30, limit=3) == []


@pytest.mark.parametrize(
    "seconds",
    [0, -1, 0.999, math.nan, math.inf, -math.inf, 366 * 86400 + 1, 10**400, 1e300],
)
def test_a_period_out_of_range_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="out of range; use 1 to"):
        Every(seconds)


@pytest.mark.parametrize("seconds", [True, "60", None, timedelta(minutes=1)])
def test_what_is_no_number_is_refused(seconds: object) -> None:
    with pytest.raises(ValueError, match="a number of seconds"):
        Every(seconds)  # type: ignore[arg-type]


def test_equal_periods_are_equal_schedules() -> None:
    assert Every(60) == Every(60.0)
    assert len({Every(60), Every(60), Every(61)}) == 2
