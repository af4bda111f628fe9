"""Keys: any text and any call become 64 hexadecimal digits, and equal ones the same."""

import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtasks_asgi.core.unique import key_of_call, key_of_text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
ARGS = st.lists(JSON, max_size=3)
KWARGS = st.dictionaries(st.text(max_size=3), JSON, max_size=3)


@pytest.mark.parametrize(
    "text", ["a", "ü", "x" * 1_000_000, "}", "a\nb\0", "\ud800", "' OR 1=1 --"], ids=ascii
)
def test_any_text_is_a_key_of_64_digits(text: str) -> None:
    key = key_of_text(text)
    assert (len(key), key.isascii(), key.isalnum()) == (64, True, True)
    assert key == key_of_text(text) != key_of_text(f"{text} ")


def test_keys_stay_what_they_are() -> None:
    """Releases at work together must agree, and so must programs in other languages."""
    assert key_of_text("\ud800") not in (key_of_text("?"), key_of_text("\ud801"))
    assert key_of_text("a") == sha256(b"a").hexdigest()
    text = '["app.tasks.send",["ü",1,1.5,null,true],{"a":{"x":1,"y":[]},"b":2}]'
    call = key_of_call(
        "app.tasks.send", ["ü", 1, 1.5, None, True], {"b": 2, "a": {"y": [], "x": 1}}
    )
    assert call == key_of_text(text)


@given(args=ARGS, kwargs=KWARGS, data=st.data())
def test_order_of_keys_does_not_matter(
    args: list[Any], kwargs: dict[str, Any], data: st.DataObject
) -> None:
    shuffled = dict(data.draw(st.permutations(list(kwargs.items()))))
    assert key_of_call("t", args, kwargs) == key_of_call("t", tuple(args), shuffled)


@given(one=st.tuples(ARGS, KWARGS), other=st.tuples(ARGS, KWARGS))
def test_calls_have_one_key_exactly_if_their_json_is_the_same(one: Any, other: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (key_of_call("t", *one) == key_of_call("t", *other)) is same


def test_names_and_ways_to_pass_differ() -> None:
    calls: list[tuple[str, list[Any], dict[str, Any]]] = [
        ("t", [1], {}),
        ("u", [1], {}),
        ("t", [], {"a": 1}),
        ("t", [1.0], {}),
        ("t", ["1"], {}),
    ]
    assert len({key_of_call(*call) for call in calls}) == len(calls)
