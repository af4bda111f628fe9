"""The envelope gives back what it was given, and refuses before writing what it could not."""

import os

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.strategies import CALLS, JSON
from vtasks_asgi.core import envelope
from vtasks_asgi.core.envelope import Call, decode, encode, pack, unpack
from vtasks_asgi.core.errors import MessageUndecodable, PayloadTooLarge


def call(*args: object, **kwargs: object) -> Call:
    return Call("app.tasks.run", list(args), dict(kwargs), 1_800_000_000.5)


@given(CALLS)
def test_any_call_comes_back_unchanged(call: Call) -> None:
    assert decode(encode(call)) == call


@given(JSON)
def test_any_value_comes_back_unchanged_and_of_the_same_type(value: object) -> None:
    back = unpack(pack(value, "the value", max_size=envelope.MAX_ENCODED))
    assert repr(back) == repr(value)  # tells 1 from 1.0 and from True, and -0.0 from 0.0


def test_tuples_come_back_as_lists() -> None:
    assert decode(encode(call((1, (2,))))).args == [[1, [2]]]


def test_a_missing_result_ttl_differs_from_none_kept() -> None:
    plain, kept_not = call(), call()
    kept_not.result_ttl = 0
    assert decode(encode(plain)).result_ttl is None
    assert decode(encode(kept_not)).result_ttl == 0


def test_small_calls_stay_readable_and_large_ones_are_compressed() -> None:
    small, large = encode(call("a")), encode(call("a" * 5000))
    assert small.startswith(b"{")
    assert large.startswith(envelope.ZSTD_MAGIC)
    assert len(large) < 200
    assert decode(large) == call("a" * 5000)


def test_the_encoded_cap_counts_bytes_after_compression() -> None:
    random_text = os.urandom(4000).hex()
    with pytest.raises(PayloadTooLarge, match=r"arguments of app\.tasks\.run.*MAX_PAYLOAD"):
        encode(call(random_text), max_size=3000)
    size = len(encode(call(random_text)))
    assert len(encode(call(random_text), max_size=size)) == size
    with pytest.raises(PayloadTooLarge):
        encode(call(random_text), max_size=size - 1)


def test_the_decoded_cap_holds_for_what_compresses_well() -> None:
    room = envelope.MAX_DECODED - len(encode(call("")))
    assert decode(encode(call("a" * room))).args == ["a" * room]
    with pytest.raises(PayloadTooLarge, match="bytes of JSON"):
        encode(call("a" * (room + 1)))


def test_too_large_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="limit is 10"):
        encode(call(), max_size=10)


@given(st.sampled_from(["args", "kwargs"]))
def test_lone_surrogates_are_a_type_error_naming_the_task(where: str) -> None:
    bad = call("\ud800") if where == "args" else call(name="\ud800")
    with pytest.raises(TypeError, match=r"arguments of app\.tasks\.run"):
        encode(bad)


def test_nothing_of_the_arguments_is_in_the_error_about_the_version() -> None:
    body = orjson.dumps({"v": "secret" * 100})
    with pytest.raises(MessageUndecodable) as caught:
        decode(body)
    assert "secret" not in str(caught.value)
