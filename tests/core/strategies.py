"""Hypothesis strategies for what travels in messages."""

from typing import Any

from hypothesis import strategies as st

from vtasks_asgi.core.envelope import Call

TEXT = st.text(max_size=20)
INTEGERS = st.integers(min_value=-(2**63), max_value=2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | INTEGERS | FLOATS | TEXT

#: Whatever JSON can carry and give back unchanged.
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=25,
)

#: Lists, most of them long enough to be compressed.
LONG = st.builds(lambda item, count: [item] * count, SCALARS, st.integers(300, 1200))

CALLS = st.builds(
    Call,
    task=TEXT,
    args=st.lists(JSON, max_size=4) | LONG,
    kwargs=st.dictionaries(TEXT, JSON, max_size=4),
    enqueued_at=st.floats(min_value=0, max_value=1e11),
    result_ttl=st.none() | st.floats(min_value=0, max_value=1e9),
    meta=st.dictionaries(TEXT, JSON, max_size=2),
    expires_at=st.none() | st.floats(min_value=0, max_value=1e11) | st.integers(0, 10**11),
)
