"""Notes come back as they were written, and damaged ones as never written."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.strategies import JSON, TEXT
from vtasks_asgi.core.envelope import pack
from vtasks_asgi.core.note import MAX_MESSAGE, Note, Progress, decode_note, encode_note, load_saved

AMOUNTS = st.integers(0, 2**63 - 1) | st.floats(0, 1e18)
NOTES = st.builds(
    Note,
    st.none() | st.builds(Progress, AMOUNTS, st.none() | AMOUNTS, TEXT),
    st.none() | st.binary(min_size=1),
)


@given(NOTES)
def test_any_note_comes_back_unchanged(note: Note) -> None:
    assert decode_note(encode_note(note)) == note


@given(JSON)
def test_any_checkpoint_comes_back_unchanged(value: Any) -> None:
    raw = encode_note(Note(Progress(1), pack(value, "it", max_size=10**6)))
    assert repr(load_saved(decode_note(raw))) == repr(value)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_note(raw: bytes) -> None:
    load_saved(decode_note(raw))


@pytest.mark.parametrize(
    "raw",
    [None, b"", b"null\n", b"[1]\n", b'[-1,2,""]\n', b'["a",2,""]\n', b'[1,true,""]\n', b"{}"],
)
def test_damage_counts_as_never_written(raw: bytes | None) -> None:
    assert decode_note(raw) == Note()
    assert load_saved(Note()) is None
    assert load_saved(Note(None, b"{")) is None


def test_damaged_progress_does_not_cost_the_checkpoint() -> None:
    assert load_saved(decode_note(b"{broken\n7")) == 7


def test_long_and_undecodable_messages_are_kept_within_bounds() -> None:
    back = decode_note(encode_note(Note(Progress(1, None, "x" * 10**6)))).progress
    assert back == Progress(1, None, "x" * MAX_MESSAGE)
    odd = decode_note(encode_note(Note(Progress(1, None, "\udc80name")))).progress
    assert odd == Progress(1, None, "?name")


@pytest.mark.parametrize(
    ("progress", "fraction"),
    [
        (Progress(0, 10), 0.0),
        (Progress(5, 10), 0.5),
        (Progress(15, 10), 1.0),
        (Progress(0, 0), 1.0),
        (Progress(5), None),
    ],
)
def test_the_fraction(progress: Progress, fraction: float | None) -> None:
    assert progress.fraction == fraction


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ((-1,), "done is -1; it must be a number, 0 or more"),
        (("1",), "done is '1'"),
        ((True,), "done is True"),
        ((10**20,), "done is 1000"),
        ((float("nan"),), "done is nan"),
        ((1, -2), "total is -2; it must be a number, 0 or more, or None"),
        ((1, 2, None), "message is a NoneType; it must be a text"),
    ],
)
def test_progress_that_makes_no_sense(wrong: tuple[Any, ...], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Progress(*wrong)
