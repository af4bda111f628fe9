"""The arithmetic of limits: what a rate means, and that no window ever has more starts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtasks_asgi.core.limits import PORTION, TOLERANCE, Gate, Gates, Limit, parse_rate, portion

RATE = st.builds(
    lambda count, seconds: seconds / count,
    st.integers(1, 3000),
    st.sampled_from([1.0, 60.0, 3600.0, 86400.0]),
).filter(lambda interval: interval >= 1e-4)


@pytest.mark.parametrize(
    ("text", "interval"),
    [("1/s", 1.0), ("100/m", 0.6), ("7200/h", 0.5), ("1/d", 86400.0), ("10000/s", 1e-4)],
)
def test_a_rate_is_an_interval(text: str, interval: float) -> None:
    assert parse_rate(text) == pytest.approx(interval)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "100",
        "/m",
        "0/m",
        "-1/m",
        "1.5/m",
        "1/y",
        "1/min",
        "1 / m",
        "\u0661/m",
        "1/m\n",
        "10001/s",
    ],
)
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="a rate is"):
        parse_rate(text)


@given(
    interval=RATE,
    steps=st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(1, 200)), min_size=1, max_size=60),
)
def test_no_window_has_more_starts_than_its_share_and_the_tolerance(
    interval: float, steps: list[tuple[float, int]]
) -> None:
    limit, at, starts, tat = Limit("key", None, interval), 1.7e9, [], 0.0
    for wait, tries in steps:
        at += wait * interval
        gate = Gate(at, 0, tat)
        starts += [at for _ in range(tries) if gate.admit(limit)]
        tat = gate.tat
    spare = math.ceil(TOLERANCE / interval)
    for first, begin in enumerate(starts):
        for last in range(first, len(starts)):
            # As many intervals as lie in [begin, end], and the one that has begun.
            share = math.floor((starts[last] - begin) / interval + 1e-3) + 1
            assert last - first + 1 <= share + spare


@given(interval=RATE, late=st.floats(0.0, 0.02))
def test_a_worker_that_is_late_keeps_the_pace(interval: float, late: float) -> None:
    """Starting each portion when it is due and a little later, the rate is used up."""
    limit = Limit("key", None, interval)
    at, tat, starts = 1.7e9, 0.0, 0
    began = at
    while starts < 500:
        gate = Gate(at, 0, tat)
        while gate.admit(limit):
            starts += 1
        tat, at = gate.tat, gate.due(limit) + late
    took = at - began
    assert took <= starts * interval + 2 * TOLERANCE
    assert took >= starts * interval - 2 * TOLERANCE - interval


@given(interval=RATE)
def test_what_is_due_together_may_start_together(interval: float) -> None:
    limit = Limit("key", None, interval)
    gate = Gate(1.7e9, 0, 1.7e9 + 1000.0)
    assert not gate.admit(limit)
    wanted = gate.wanted(limit)
    assert wanted == portion(interval) >= 1
    assert wanted == 1 or wanted * interval <= PORTION * (1 + 1e-9)
    later = Gate(gate.due(limit) + 1e-5, 0, gate.tat)
    assert sum(later.admit(limit) for _ in range(wanted)) == wanted


def test_concurrency_counts_what_runs() -> None:
    gate = Gate(0.0, 1)
    assert gate.wanted(Limit("key", 3)) == 2
    assert [gate.admit(Limit("key", 3)) for _ in range(3)] == [True, True, False]
    assert gate.wanted(Limit("key", 3)) == 0
    assert gate.wanted(Limit("key", 2)) == 0
    assert gate.wanted(Limit("key", 5)) == 2


def test_a_denied_start_changes_nothing() -> None:
    both = Limit("key", 1, 5.0)
    gate = Gate(100.0, 1, 50.0)
    assert not gate.admit(both)
    assert (gate.running, gate.tat) == (1, 50.0)
    gate = Gate(100.0, 0, 105.0)
    assert not gate.admit(both)
    assert (gate.running, gate.tat, gate.due(both)) == (0, 105.0, 105.0 - TOLERANCE)


def test_gates_are_looked_up_once_and_remember_whom_they_denied() -> None:
    asked: list[str] = []

    def find(key: str) -> Gate:
        asked.append(key)
        return Gate(0.0)

    gates, narrow, wide = Gates(find), Limit("b", 1), Limit("a", 2)
    assert [gates.admit(each) for each in (narrow, narrow, wide, narrow)] == [
        True,
        False,
        True,
        False,
    ]
    assert asked == ["b", "a"]
    assert gates.keys == ["a", "b"]
    assert list(gates.denied) == [narrow]
