"""The number of a fair key's line: the same everywhere and for ever, within its bounds."""

from vtasks_asgi.core.line import KEYLESS, LINES, line_of
from vtasks_asgi.core.message import MIN_PRIORITY


def test_a_line_is_the_same_in_every_process_and_version() -> None:
    assert line_of("acme") == 17890257776888


def test_texts_of_any_kind_have_lines_of_their_own() -> None:
    texts = [f"key {number}" for number in range(10_000)] + ["", "ü", "\ud800", "x" * 10_000]
    lines = {line_of(text) for text in texts}
    assert len(lines) == len(texts)
    assert KEYLESS < min(lines)
    assert max(lines) < LINES
    assert max(lines) > LINES // 2, "all of the bits are used"


def test_with_a_priority_it_is_exact_in_a_double() -> None:
    highest = LINES - 1 - MIN_PRIORITY * LINES
    assert float(highest) != float(highest - 1)
