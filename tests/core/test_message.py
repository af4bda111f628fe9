"""Ids: fixed length, in the order of time, never the same twice."""

import itertools
import time
import uuid

from hypothesis import assume, given
from hypothesis import strategies as st

from vtasks_asgi.core.clock import SystemClock
from vtasks_asgi.core.message import new_id

TIMES = st.floats(min_value=0, max_value=2**48 / 1000 - 1)


@given(TIMES)
def test_an_id_is_32_lower_case_hex_digits(now: float) -> None:
    made = new_id(now)
    assert len(made) == 32
    assert set(made) <= set("0123456789abcdef")
    assert uuid.UUID(made).hex == made


@given(TIMES, TIMES)
def test_ids_sort_by_the_millisecond_they_were_made_in(one: float, other: float) -> None:
    assume(int(one * 1000) != int(other * 1000))
    assert (new_id(one) < new_id(other)) == (one < other)


def test_ids_of_one_instant_differ() -> None:
    assert len({new_id(1_800_000_000.0) for _ in range(10_000)}) == 10_000


def test_ids_of_one_instant_sort_in_the_order_they_were_made() -> None:
    made = [new_id(1_800_000_000.0) for _ in range(1_000)]
    falls = sum(later < earlier for earlier, later in itertools.pairwise(made))
    assert falls <= 1, "the count may have started anew once"


def test_an_id_carries_the_time_it_was_made() -> None:
    before = int(time.time() * 1000)
    made = int(new_id()[:12], 16)
    assert before <= made <= int(time.time() * 1000)
    assert int(new_id(1234.5678)[:12], 16) == 1_234_567


def test_the_system_clock_tells_both_times() -> None:
    clock = SystemClock()
    assert time.time() - 5 < clock.now() <= time.time()
    assert time.monotonic() - 5 < clock.monotonic() <= time.monotonic()
