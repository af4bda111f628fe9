"""Delays stay within their bounds, and the two budgets are counted apart."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtasks_asgi.core.outcome import EXHAUSTED, WORKER_LOST, Dead, Retry
from vtasks_asgi.core.retry import (
    CRASH_PAUSE,
    Backoff,
    RetryPolicy,
    after_crash,
    after_failure,
)

HISTORY = b"history"
RANDOM = st.floats(min_value=0, max_value=1, exclude_max=True)
JITTERS = st.floats(min_value=0, max_value=1)
FAILURES = st.integers(min_value=1, max_value=10**9)


@st.composite
def backoffs(draw: st.DrawFn, jitters: st.SearchStrategy[float] = JITTERS) -> Backoff:
    base = draw(st.floats(min_value=0, max_value=1e9) | st.integers(0, 10**9))
    return Backoff(
        base=base,
        factor=draw(st.floats(min_value=1, max_value=1e300) | st.integers(1, 10**20)),
        maximum=draw(st.floats(min_value=base, max_value=1e12)),
        jitter=draw(jitters),
    )


@given(backoffs(), FAILURES, RANDOM)
def test_a_delay_is_between_the_jittered_share_and_the_maximum(
    backoff: Backoff, failures: int, random: float
) -> None:
    full = backoff.delay(failures, lambda: 0.0)
    delay = backoff.delay(failures, lambda: random)
    assert 0 <= delay <= full <= backoff.maximum
    assert delay >= full * (1 - backoff.jitter)
    assert math.isfinite(delay)


@given(backoffs(st.just(0.0)), FAILURES, FAILURES)
def test_without_jitter_delays_never_shrink(backoff: Backoff, one: int, other: int) -> None:
    few, many = sorted((one, other))
    assert backoff.delay(few, lambda: 0.9) <= backoff.delay(many, lambda: 0.9)


def test_the_delays_are_those_of_the_formula() -> None:
    backoff = Backoff(base=5, factor=3, maximum=100, jitter=0)
    delays = [backoff.delay(failures, lambda: 0.5) for failures in (1, 2, 3, 4, 5)]
    assert delays == [5, 15, 45, 100, 100]


def test_jitter_takes_off_its_share() -> None:
    backoff = Backoff(base=8, factor=1, maximum=8, jitter=0.5)
    assert backoff.delay(1, lambda: 0.0) == 8
    assert backoff.delay(1, lambda: 0.5) == 6
    assert 4 < backoff.delay(1, lambda: 0.999) < 4.01


@pytest.mark.parametrize("failures", [0, -1, -(10**6)])
def test_fewer_failures_than_one_wait_as_long_as_one(failures: int) -> None:
    backoff = Backoff(base=5, factor=3, jitter=0)
    assert backoff.delay(failures, lambda: 0.5) == 5


def test_no_base_means_no_wait_whatever_the_factor() -> None:
    assert Backoff(base=0, factor=1e308, maximum=10).delay(64, lambda: 0.5) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"base": -1},
        {"base": math.nan},
        {"base": 10, "maximum": 9},
        {"base": math.inf, "maximum": math.inf},
        {"maximum": math.inf},
        {"maximum": math.nan},
        {"factor": 0.99},
        {"factor": math.nan},
        {"factor": math.inf},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"jitter": math.nan},
    ],
)
def test_a_backoff_that_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"^backoff "):
        Backoff(**wrong)


def test_a_policy_that_makes_no_sense() -> None:
    for attempts in (0, -1):
        with pytest.raises(ValueError, match="max_attempts must be at least 1"):
            RetryPolicy(max_attempts=attempts)
    with pytest.raises(ValueError, match="max_rescues must be 0 or more"):
        RetryPolicy(max_rescues=-1)


@given(st.integers(1, 50), st.integers(1, 200), st.integers(0, 100))
def test_failures_alone_use_up_the_attempts(limit: int, attempt: int, crashes: int) -> None:
    crashes = min(crashes, attempt - 1)
    outcome = after_failure(
        RetryPolicy(max_attempts=limit),
        error=ValueError(),
        attempt=attempt,
        crashes=crashes,
        history=HISTORY,
        random=lambda: 0.5,
    )
    if attempt - crashes >= limit:
        assert outcome == Dead(HISTORY, EXHAUSTED)
    else:
        assert isinstance(outcome, Retry)
        assert outcome.history == HISTORY
        assert outcome.delay == Backoff().delay(attempt - crashes, lambda: 0.5)


@given(st.integers(0, 50), st.integers(1, 10**6))
def test_crashes_alone_use_up_the_rescues(limit: int, crashes: int) -> None:
    outcome = after_crash(limit, crashes=crashes, history=HISTORY)
    if crashes > limit:
        assert outcome == Dead(HISTORY, WORKER_LOST)
    else:
        assert isinstance(outcome, Retry)
        assert outcome.history == HISTORY


@given(st.integers(2, 10**6), RANDOM)
def test_later_rescues_are_spread_between_the_pause_and_its_double(
    crashes: int, random: float
) -> None:
    shortest = after_crash(10**9, crashes=crashes, history=HISTORY)
    spread = after_crash(10**9, crashes=crashes, history=HISTORY, random=lambda: random)
    assert isinstance(shortest, Retry)
    assert isinstance(spread, Retry)
    assert CRASH_PAUSE <= shortest.delay <= spread.delay <= 2 * shortest.delay


def test_the_first_crash_is_rescued_at_once_and_later_ones_ever_later() -> None:
    outcomes = [after_crash(10**9, crashes=n, history=HISTORY) for n in range(1, 50)]
    delays = [outcome.delay for outcome in outcomes if isinstance(outcome, Retry)]
    assert delays[:4] == [0, CRASH_PAUSE, 2 * CRASH_PAUSE, 4 * CRASH_PAUSE]
    assert delays == sorted(delays)
    assert delays[-1] < 86_400
