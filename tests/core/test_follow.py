"""What follows a message, as it travels: rows, ids, plans, and whatever strangers put there."""

from typing import Any

import pytest

from vtasks_asgi.core.envelope import MAX_ENCODED, Call, decode, encode
from vtasks_asgi.core.errors import MessageUndecodable, PayloadTooLarge
from vtasks_asgi.core.follow import (
    COMPLETE,
    ENDED,
    FAILURE,
    GROUP,
    PARENT,
    SUCCESS,
    THEN,
    Follow,
    Parent,
    Successor,
    after_failure,
    after_success,
    callbacks,
    derived_id,
    encode_plan,
    failure_of,
    parent_of,
)
from vtasks_asgi.core.message import Message, new_id

NOW = 1000.0


def successor(task: str = "a.task", *args: Any, **fields: Any) -> Successor:
    call = Call(task, [*args], {"k": 1}, 5.0, 60.0, {"data": {"d": 1}})
    return Successor(call, Message("", "queue", b"", 3, **fields))


def then(value: Any = None, *rows: Any, id: str = "id", max_size: int = MAX_ENCODED) -> Message:
    follow = after_success({THEN: [*rows]}, id, value, NOW, max_size=max_size)
    assert follow is not None and follow.then is not None
    return follow.then


def test_a_successor_keeps_all_that_its_message_had() -> None:
    given = successor("a.task", 1, unique="u", keep_unique=9.0, run_at=2000.0)
    given.call.expires_at = 3000.0
    message = then("value", given.row())
    assert (message.queue, message.priority, message.run_at) == ("queue", 3, 2000.0)
    assert (message.unique, message.keep_unique) == ("u", 9.0)
    call = decode(message.body)
    assert (call.task, call.args, call.kwargs) == ("a.task", [1], {"k": 1})
    assert (call.enqueued_at, call.result_ttl, call.expires_at) == (NOW, 60.0, 3000.0)
    assert call.meta == {"data": {"d": 1}, PARENT: ["id", "value"]}
    assert parent_of(call.meta) == Parent("id", "value")


def test_a_debounced_one() -> None:
    message = then(None, successor(unique="u", debounce=5.0, debounce_max=60.0).row())
    assert (message.debounce, message.debounce_max) == (5.0, 60.0)


def test_seconds_to_expire_count_from_when_it_is_due() -> None:
    given = successor()
    given.expires_in, given.call.expires_at = 10.0, 15.0
    assert decode(then(None, given.row()).body).expires_at == NOW + 10.0
    given.message.run_at = 2000.0
    assert decode(then(None, given.row()).body).expires_at == 2010.0


def test_a_chain_is_handed_on() -> None:
    rows = [successor(name).row() for name in ("one", "two", "three")]
    message = then(1, *rows)
    tasks = []
    while True:
        call = decode(message.body)
        tasks.append(call.task)
        if THEN not in call.meta:
            break
        message = then(len(tasks), *call.meta[THEN], id=message.id)
    assert tasks == ["one", "two", "three"]


def test_a_long_chain_is_no_deep_one() -> None:
    rows = [successor(str(number)).row() for number in range(500)]
    assert len(decode(then(None, *rows).body).meta[THEN]) == 499


def test_ids_are_the_same_for_everybody_and_differ_otherwise() -> None:
    id = new_id(NOW)
    ids = {derived_id(id, what) for what in (THEN, COMPLETE, SUCCESS, FAILURE)}
    assert len(ids | {id}) == 5
    assert {each[:12] for each in ids} == {id[:12]}
    assert {len(each) for each in ids} == {32}
    assert derived_id("short", THEN) == derived_id("short", THEN) != derived_id("other", THEN)
    assert len(derived_id("x" * 64, THEN)) == 32


def test_a_value_that_cannot_travel() -> None:
    row = successor().row()
    with pytest.raises(TypeError, match="the return value"):
        then(object(), row)
    with pytest.raises(PayloadTooLarge):
        then(" ".join(map(str, range(1000))), row, max_size=500)
    deep: Any = None
    for _ in range(62):
        deep = [deep]
    with pytest.raises(ValueError, match="nested"):
        then(deep, row)
    decode(then(deep[0], row).body)


@pytest.mark.parametrize(
    "rows",
    [
        "text",
        [None],
        [5],
        [{}],
        [{"task": "a", "args": {}}],
        [{"task": 5, "args": [], "kwargs": {}, "queue": "q"}],
        [{"task": "a", "args": [], "kwargs": {}, "queue": "q", "exp_in": "soon"}],
        [{"task": "a", "args": [], "kwargs": {}, "queue": "q", "meta": 5}],
        [{"task": "a", "args": [], "kwargs": {}, "queue": 5}],
        [{"task": "a", "args": [], "kwargs": {}, "queue": "q", "priority": "high"}],
        [{"task": "a", "args": [], "kwargs": {}, "queue": "q", "run_at": []}],
        [{"task": "a", "args": [], "kwargs": {}, "queue": "q", "unique": 5}],
        [{"task": "a", "args": [], "kwargs": {}, "queue": "q", "unique": "x" * 65}],
        [{"task": "a", "args": [], "kwargs": {}, "queue": "q", "priority": 101}],
        [{"task": "a", "args": [], "kwargs": {}, "queue": "nul\0"}],
        [{"task": "a", "args": [], "kwargs": {}, "queue": "q" * 101}],
        [{"task": "a", "args": [], "kwargs": {}, "queue": ""}],
    ],
)
def test_what_strangers_wrote_is_refused(rows: Any) -> None:
    with pytest.raises(MessageUndecodable):
        after_success({THEN: rows}, "id", None, NOW, max_size=MAX_ENCODED)


def test_marks_without_a_successor() -> None:
    assert after_failure({}) is None
    assert after_success({"data": {}}, "id", object(), NOW, max_size=1) is None
    assert after_failure({GROUP: "g"}) == Follow("g") == failure_of(_body({GROUP: "g"}))
    assert after_success({ENDED: "g"}, "id", None, NOW, max_size=1) == Follow(None, "g")
    for odd in (5, "", "ü", "x" * 65, None, ["g"]):
        assert after_failure({GROUP: odd}) is None
    assert failure_of(b"no envelope") is None
    for strange in (5, [], ["id"], [5, 1], "id"):
        assert parent_of({PARENT: strange}) is None


def _body(meta: dict[str, Any]) -> bytes:
    return encode(Call("a.task", [], {}, 0.0, meta=meta))


def test_a_plan_calls_by_how_it_went() -> None:
    events = (COMPLETE, SUCCESS, FAILURE)
    plan = encode_plan({event: successor(event) for event in events}, max_size=MAX_ENCODED)
    called = {failed: callbacks("g", plan, failed, NOW) for failed in (0, 2)}
    tasks = {key: [decode(each.body).task for each in found] for key, found in called.items()}
    assert tasks == {0: [COMPLETE, SUCCESS], 2: [COMPLETE, FAILURE]}
    assert decode(called[0][0].body).meta[ENDED] == "g"
    assert called[0][0].id == called[2][0].id == derived_id("g", COMPLETE)
    assert callbacks("g", b"", 0, NOW) == []


def test_a_damaged_plan_calls_nobody() -> None:
    with pytest.raises(PayloadTooLarge):
        encode_plan({COMPLETE: successor("a", "x" * 5000)}, max_size=10)
    for odd in (b"\xff", b"[]", b"5", b'{"complete": 5}', b'{"complete": {"task": "a"}}'):
        assert callbacks("g", odd, 0, NOW) == []
