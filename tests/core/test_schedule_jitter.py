"""Jitter: ticks of one schedule are put off differently, and each by the same in every process."""

from hypothesis import given
from hypothesis import strategies as st

from vtasks_asgi.core.schedule import Entry, Every

AT = 1_800_000_000.0


def entry(jitter: float, name: str = "x") -> Entry:
    return Entry(name=name, task="a.b", schedule=Every(3600), jitter=jitter)


def test_without_jitter_a_tick_is_for_at_once() -> None:
    assert entry(0.0).start(AT) is None


def test_a_tick_is_put_off_by_the_same_in_every_process_and_release() -> None:
    assert entry(300.0).start(AT) == AT + 151.24106192588806


def test_ticks_and_entries_differ() -> None:
    starts = {entry(300.0, name).start(AT + tick) or 0.0 for name in "xy" for tick in (0, 0.5, 60)}
    assert len(starts) == 6


def test_the_waits_are_spread_over_all_of_it() -> None:
    waits = [
        (entry(100.0).start(AT + 3600 * tick) or 0.0) - AT - 3600 * tick for tick in range(400)
    ]
    tenths = {int(wait // 10) for wait in waits}
    assert tenths == set(range(10))


@given(st.floats(0.001, 86400), st.floats(0, 1e10), st.text(max_size=20))
def test_never_before_the_tick_and_never_later_than_the_jitter(
    jitter: float, at: float, name: str
) -> None:
    start = entry(jitter, name).start(at)
    assert start is not None
    assert at <= start <= at + jitter
