"""Bytes from a stranger raise MessageUndecodable and nothing else, and cost little memory."""

import random
import threading
import tracemalloc
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.core.strategies import CALLS, JSON
from vtasks_asgi.core import envelope
from vtasks_asgi.core.envelope import MAX_DECODED, MAX_NESTING, Call, decode, encode, unpack
from vtasks_asgi.core.errors import MessageUndecodable

SOUND: dict[str, Any] = {"v": 1, "task": "app.run", "args": [1], "kwargs": {"a": 2}, "at": 5.0}
LARGE = encode(Call("app.run", ["some text " * 500], {}, 5.0))


def dumps(**changes: Any) -> bytes:
    return orjson.dumps({**SOUND, **changes})


def refused_or_call(body: bytes) -> None:
    """Decoding may succeed, for a stranger can write a sound call; else one error only."""
    try:
        call = decode(body)
    except MessageUndecodable:
        return
    assert type(call) is Call


def stream_frame(content: bytes, window_log: int = 20, *, size: bool = False) -> bytes:
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log, write_content_size=size)
    writer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return writer.compress(content) + writer.flush()


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    refused_or_call(body)


@given(st.binary(max_size=200))
def test_any_bytes_in_a_compressed_frame(content: bytes) -> None:
    refused_or_call(zstandard.compress(content))


@given(st.binary(max_size=200))
def test_any_bytes_after_the_mark_of_a_compressed_frame(rest: bytes) -> None:
    refused_or_call(envelope.ZSTD_MAGIC + rest)


@given(JSON)
def test_any_json(value: Any) -> None:
    refused_or_call(orjson.dumps(value))


@given(
    st.dictionaries(
        st.sampled_from(["v", "task", "args", "kwargs", "at", "ttl", "meta", "exp"]), JSON
    )
)
def test_any_json_in_the_fields(fields: dict[str, Any]) -> None:
    refused_or_call(orjson.dumps({**SOUND, **fields}))


@given(CALLS, st.data())
def test_a_call_cut_short(call: Call, data: st.DataObject) -> None:
    body = encode(call)
    cut = data.draw(st.integers(min_value=0, max_value=len(body) - 1))
    with pytest.raises(MessageUndecodable):
        decode(body[:cut])


@given(CALLS, st.data())
def test_a_call_with_a_flipped_bit(call: Call, data: st.DataObject) -> None:
    body = bytearray(encode(call))
    bit = data.draw(st.integers(min_value=0, max_value=8 * len(body) - 1))
    body[bit // 8] ^= 1 << bit % 8
    refused_or_call(bytes(body))


@pytest.mark.parametrize("body", [encode(Call("app.run", [], {}, 5.0)), LARGE])
def test_a_call_with_something_behind_it(body: bytes) -> None:
    for rest in (b"x", body):
        with pytest.raises(MessageUndecodable):
            decode(body + rest)


@pytest.mark.parametrize("version", [0, 2, -1, 2**40, "1", None, True, 1.0, [1], {"v": 1}])
def test_a_version_of_another_time(version: Any) -> None:
    with pytest.raises(MessageUndecodable, match="version"):
        decode(dumps(v=version))


@pytest.mark.parametrize("value", [None, 1, "text", [], [SOUND], True, {}])
def test_no_object_or_an_empty_one(value: Any) -> None:
    with pytest.raises(MessageUndecodable, match="lacks a field"):
        decode(orjson.dumps(value))


@pytest.mark.parametrize("field", ["v", "task", "args", "kwargs", "at"])
def test_a_missing_field(field: str) -> None:
    with pytest.raises(MessageUndecodable, match="lacks a field"):
        decode(orjson.dumps({name: SOUND[name] for name in SOUND if name != field}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", None),
        ("task", ["app.run"]),
        ("args", {"0": 1}),
        ("args", "text"),
        ("kwargs", [1]),
        ("kwargs", None),
        ("at", "now"),
        ("at", True),
        ("at", None),
        ("ttl", "1"),
        ("ttl", True),
        ("meta", [1]),
        ("meta", "text"),
    ],
)
def test_a_field_of_the_wrong_type(field: str, value: Any) -> None:
    with pytest.raises(MessageUndecodable, match="wrong type"):
        decode(dumps(**{field: value}))


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"NaN", b"Infinity", b"0x10", b"01"])
def test_numbers_that_are_none(number: bytes) -> None:
    with pytest.raises(MessageUndecodable):
        decode(dumps(at=12345).replace(b"12345", number))


def test_of_duplicate_keys_the_last_one_wins() -> None:
    body = dumps().replace(b'"v":1', b'"task":"first","v":1')
    assert decode(body).task == "app.run"


def test_lone_surrogates_in_the_bytes() -> None:
    with pytest.raises(MessageUndecodable):
        decode(dumps(task="NAME").replace(b"NAME", b"\\ud800"))


@pytest.mark.parametrize("bracket", [b"[", b'{"a":'])
@pytest.mark.parametrize("depth", [MAX_NESTING + 1, 1000, 100_000])
def test_deep_nesting(bracket: bytes, depth: int) -> None:
    closing = (b"]" if bracket == b"[" else b"}") * depth
    for body in (bracket * depth, bracket * depth + b"1" + closing):
        for packed in (body, zstandard.compress(body)):
            with pytest.raises(MessageUndecodable):
                unpack(packed)


def test_what_can_be_encoded_deepest_can_be_decoded() -> None:
    value: Any = 0
    for _ in range(envelope.MAX_DEPTH):
        value = [value]
    call = Call("app.run", [value], {}, 5.0)
    assert decode(encode(call)) == call
    with pytest.raises(ValueError, match="deeper than 64"):
        encode(Call("app.run", [[value]], {}, 5.0))


def test_many_shallow_containers_are_no_deep_nesting() -> None:
    call = Call("app.run", [[], {}] * 1000, {}, 5.0)
    assert decode(encode(call)) == call


def test_a_frame_inside_a_frame() -> None:
    with pytest.raises(MessageUndecodable):
        decode(zstandard.compress(LARGE))


def test_a_frame_without_its_size() -> None:
    body = stream_frame(dumps(task="t" * 3000))
    assert zstandard.frame_content_size(body) == -1
    assert decode(body).task == "t" * 3000


def peak_of_refusing(body: bytes) -> int:
    """The most bytes allocated at once while refusing this, beyond the bytes given.

    zstd's own window is not counted; it has a test of its own below.
    """
    unpack(LARGE)  # what is made once a thread does not count
    tracemalloc.start()
    try:
        with pytest.raises(MessageUndecodable):
            unpack(body)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size_known", [True, False])
def test_a_bomb_of_zeros_is_refused_in_bounded_memory(size_known: bool) -> None:
    zeros = b"0" * (8 * MAX_DECODED)
    bomb = zstandard.compress(zeros) if size_known else stream_frame(zeros)
    assert len(bomb) < MAX_DECODED / 100
    assert peak_of_refusing(bomb) < 2 * MAX_DECODED


def test_a_frame_that_lies_about_its_size() -> None:
    for claimed in (0, 5, MAX_DECODED, MAX_DECODED + 1, 2**40, 2**64 - 3):
        honest = zstandard.compress(b"[" + b"0," * 5000 + b"0]")
        header = envelope.ZSTD_MAGIC + bytes([0b1110_0000]) + claimed.to_bytes(8, "little")
        blocks = honest[4 + 1 + 2 :]  # magic, descriptor, two bytes of size: a single segment
        assert peak_of_refusing(header + blocks) < 2 * MAX_DECODED


def test_a_frame_that_wants_a_huge_window() -> None:
    with pytest.raises(MessageUndecodable, match="too much memory"):
        unpack(stream_frame(b"1", window_log=27))


def test_json_over_the_cap_is_not_even_parsed() -> None:
    with pytest.raises(MessageUndecodable, match="the limit is"):
        unpack(b" " * (MAX_DECODED + 1))


def test_threads_do_not_share_a_decompressor() -> None:
    wrong: list[object] = []

    def read(seed: int) -> None:
        text = random.Random(seed).randbytes(300_000).hex()  # long enough to be interrupted
        body = encode(Call("app.run", [text], {}, 5.0))
        for _ in range(20):
            try:
                wrong.extend([seed] if decode(body).args != [text] else [])
            except MessageUndecodable as error:
                wrong.append(error)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
