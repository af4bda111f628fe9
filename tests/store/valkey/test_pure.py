"""Keys, layouts, requests and replies without a server."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from valkey.crc import key_slot

from tests.store.helpers import ODD_NAMES
from tests.store.server_time import every_script
from vtasks_asgi.core.limits import Limit
from vtasks_asgi.core.line import LINES
from vtasks_asgi.core.message import MAX_PRIORITY, MIN_PRIORITY, Message
from vtasks_asgi.core.outcome import Done, Release, Retry
from vtasks_asgi.store.base import Claim, Receipt, Settlement
from vtasks_asgi.store.valkey import commands, layout, records, ticks
from vtasks_asgi.store.valkey.keys import Names, slot_of
from vtasks_asgi.store.valkey.wire import bulk, pack, reader

NAMES = Names("vt:")
KEYS = NAMES.queue("default")
TEXT = st.text(max_size=30)


def words(payload: bytes) -> list[bytes]:
    """A packed command, read as the server does: a command is an array like any reply."""
    parser = reader()
    parser.feed(payload)
    found: list[bytes] = parser.gets()
    return found


# -- keys


@given(st.sets(TEXT, min_size=2))
def test_different_queues_have_different_keys(queues: set[str]) -> None:
    assert len({NAMES.queue(queue).name("t") for queue in queues}) == len(queues)


@pytest.mark.parametrize("queue", ODD_NAMES)
def test_all_keys_of_a_queue_are_in_one_slot(queue: str) -> None:
    keys = NAMES.queue(queue)
    every = {suffix for script in every_script() for suffix in script.keys}
    assert {key_slot(keys.name(suffix)) for suffix in every} == {keys.slot}


def test_no_queue_shares_the_keys_of_the_ticks() -> None:
    assert NAMES.queue("*").name("last") != NAMES.ticks.name("last")


@given(st.binary(max_size=40) | st.from_regex(rb"[a{}]{0,12}", fullmatch=True))
def test_the_slot_is_the_one_the_servers_compute(key: bytes) -> None:
    assert slot_of(key) == key_slot(key)


def test_two_prefixes_share_no_key() -> None:
    other = Names("other:")
    for script in every_script():
        assert KEYS.head(script) != other.queue("default").head(script)


# -- layouts

LIMITS = st.builds(
    Limit,
    st.text(st.characters(min_codepoint=1, max_codepoint=127), min_size=1, max_size=64),
    st.none() | st.integers(1, 2**31 - 1),
    st.none() | st.floats(1e-4, 86400.0),
).filter(lambda limit: limit.concurrency or limit.interval)


@given(st.integers(MIN_PRIORITY, MAX_PRIORITY), st.integers(1, 2**45 - 1))
def test_a_place_tells_its_priority(priority: int, seq: int) -> None:
    place = float(-priority * layout.BAND + seq)
    assert int(place) == -priority * layout.BAND + seq
    assert layout.priority_of(place) == priority


@given(st.floats() | st.integers(-(2**60), 2**60).map(float))
def test_any_place_is_some_priority(place: float) -> None:
    assert -200 <= layout.priority_of(place) <= 200


@given(st.binary(max_size=60))
def test_anything_stored_can_be_read(value: bytes) -> None:
    meta, own, end = layout.read_meta(value), layout.read_own(value), layout.read_fields(value)
    assert meta.run_at is None or not math.isnan(meta.run_at)
    assert isinstance(own.token, str)
    assert end.attempt >= 0
    ticks.read_intent(value)


@given(
    st.floats(-1e6, 1e6),
    st.integers(0, 9),
    st.integers(0, 9),
    st.none() | st.text("ab", min_size=1),
    st.none() | LIMITS,
)
def test_what_is_kept_of_a_message_reads_back(
    place: float, attempt: int, crashes: int, unique: str | None, limit: Limit | None
) -> None:
    rest = layout.meta_rest(place, attempt, crashes, unique, limit)
    meta = layout.read_meta(layout.STAMP.pack(5.5) + rest)
    assert meta == layout.Meta(5.5, place, attempt, crashes, unique, limit)
    never = layout.read_meta(layout.STAMP.pack(layout.NEVER) + rest)
    assert never.run_at is None


@given(st.none() | st.binary(max_size=9), TEXT)
def test_what_is_kept_of_an_end_reads_back(value: bytes | None, reason: str) -> None:
    done = layout.STAMP.pack(7.0) + layout.done_fields(1.0, 2, 3, value)
    assert layout.read_fields(done) == layout.Finished(7.0, 1.0, 2, 3, value, None)
    dead = layout.STAMP.pack(7.0) + layout.dead_fields(1.0, 2, 3, reason, "key", Limit("of", 2))
    assert layout.read_fields(dead) == layout.Finished(7.0, 1.0, 2, 3, None, reason)


@given(
    TEXT,
    TEXT,
    st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.floats(0, 9),
    st.none() | LIMITS,
    st.none() | st.integers(0, LINES - 1),
)
def test_an_intent_reads_back(
    id: str, queue: str, at: float, run_at: float | None, limit: Limit | None, line: int | None
) -> None:
    message = Message(id, queue, b"\x00body", 5, run_at, "key", 2.5, 1.0, 9.0, limit, line)
    value = layout.STAMP.pack(1.0) + ticks.intent(at, message)
    assert ticks.read_intent(value) == (at, message)
    assert value[8:16] == ticks.stamped(at)[8:16]


# -- requests


def test_a_script_by_hash_and_in_full_differ_only_in_front() -> None:
    request = commands.push(KEYS, commands.parcels([Message("id", "default", b"body")]))
    short, full = words(request.payload), words(request.in_full)
    assert (short[0], full[0]) == (b"EVALSHA", b"EVAL")
    assert short[2:] == full[2:]


def test_a_plain_message_is_two_arguments_and_another_nine_more() -> None:
    plain = Message("a", "default", b"A")
    special = Message("b", "default", b"B", -5, 12.5, "key", 3.0, limit=Limit("of", 2, 0.5))
    request = commands.push(KEYS, commands.parcels([plain, special]))
    start = 3 + len(commands.PUSH.keys)
    assert words(request.payload)[start:] == [
        *(b"", b"2", b"a", b"A", b"b", b"B"),
        *(b"2", b"-5", b"12.5", b"key", b"3.0", b"", b"", b"2 0.5 of", b""),
    ]


def test_a_lone_plain_message_has_a_script_of_its_own() -> None:
    def script_for(*messages: Message, tick: bytes = b"") -> str | None:
        script = commands.push(KEYS, commands.parcels(messages), tick).script
        return script.name if script else None

    plain = Message("a", "default", b"A")
    request = commands.push(KEYS, commands.parcels([plain]))
    assert script_for(plain) == "put"
    assert words(request.payload)[2:] == [
        b"4",
        *(b"vt:{default}:" + key for key in (b"t", b"ready", b"seq", b"idle")),
        *(b"a", b"A"),
    ]
    assert script_for(plain, Message("b", "default", b"B")) == "push"
    assert script_for(plain, tick=b"1 nightly") == "push"
    for field in ({"priority": 1}, {"run_at": 1.0}, {"unique": "key"}):
        assert script_for(Message("a", "default", b"A", **field)) == "push", field


def test_a_call_carries_each_id_once_and_no_more_than_it_may() -> None:
    one, two = Message("1", "q", b""), Message("2", "q", b"")
    cut = commands.chunks(commands.parcels([one, two, one, one]))
    assert [[each[0] for each in chunk] for chunk in cut] == [["1", "2"], ["1"], ["1"]]
    many = [Message(str(n), "q", b"") for n in range(2500)]
    assert [len(it) for it in commands.chunks(commands.parcels(many))] == [1000, 1000, 500]
    large = [Message(str(n), "q", bytes(3 * 2**20)) for n in range(4)]
    assert [len(it) for it in commands.chunks(commands.parcels(large))] == [3, 1]
    assert list(commands.chunks([])) == [[]]


def test_what_was_not_stored_is_told_apart() -> None:
    parcels = commands.parcels([Message(id, "q", b"") for id in "abc"])
    assert commands.receipts(parcels, []) == [Receipt("a"), Receipt("b"), Receipt("c")]
    assert commands.receipts(parcels, [1, b"", 0, 3, b"x", 1]) == [
        Receipt("a", False),
        Receipt("b"),
        Receipt("c", False, "x", merged=True),
    ]


def test_settlements_of_one_claim_go_out_one_after_the_other() -> None:
    first, second = (Claim(id, "q", b"", 0, "t" * 16, 1, handle=1.0) for id in "ab")
    every = [
        Settlement(first, Retry(b"", 0.0)),
        Settlement(second, Done(b"")),
        Settlement(first, Release()),
    ]
    assert [[it.claim.id for it in some] for some in commands.rounds(every)] == [["a", "b"], ["a"]]
    _, order = commands.settle(KEYS, every[:2], 9)
    assert [claim.id for claim in order] == ["b", "a"]  # as the script counts them: by kind


def test_a_claim_decodes_damaged_values_as_defaults() -> None:
    reply: list[Any] = [
        [b"a", b"7", b"\xff", b"-3.5184372088831e+13"],
        [b"12345678body", b"short"],
        [b"torn", None],
        [None, b"history"],
        [b"note", None],
        b"1.5",
    ]
    found = commands.claimed("q", "t", reply)
    one, two = found.claims
    assert (one.id, one.body, one.attempt, one.history) == ("a", b"body", 1, None)
    assert (two.body, two.priority, two.history) == (b"", 1, b"history")
    assert (one.note, two.note) == (b"note", None)
    assert layout.raw(two.id) == b"\xff"
    assert found.next_due == 1.5


@pytest.mark.parametrize("cursor", ["x", "1", "-:", "1e9999x:", "é:1", "1:é", "nan:", "--1:x"])
def test_cursors_that_make_no_sense(cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        records.position(cursor)


@given(st.integers(-(2**52), 2**52), st.text("abcdef0123456789:", min_size=1, max_size=64))
def test_a_cursor_names_its_position(score: int, id: str) -> None:
    text = records.cursor(b"%d" % score, id.encode())
    assert records.position(text) == (b"%d" % score, id.encode())


@given(st.lists(st.binary(max_size=9) | TEXT | st.integers(), min_size=1))
def test_packing_is_the_protocol(args: list[bytes | str | int]) -> None:
    plain = [it if isinstance(it, bytes) else str(it).encode() for it in args]
    assert words(pack(*args)) == plain
    assert pack(*plain) == b"*%d\r\n" % len(args) + b"".join(map(bulk, plain))


# -- scripts


def test_every_script_says_what_it_wants_and_promises() -> None:
    for script in every_script():
        lines = script.text.splitlines()
        assert lines[0].startswith("#!lua")
        for word in ("KEYS", "ARGV", "Returns", "Invariant"):
            assert sum(line.startswith(f"-- {word}: ") for line in lines) == 1, (script.name, word)


def test_only_what_adds_work_is_refused_when_memory_is_out() -> None:
    strict = {it.name for it in every_script() if "allow-oom" not in it.text.splitlines()[0]}
    assert strict == {"group_open", "push", "put", "requeue", "save", "tick"}
