"""Damaged, truncated and hostile values in every structure: the neighbours run, nothing loops."""

import asyncio
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tests.services.valkey import Valkey
from tests.store.helpers import (
    DEAD,
    DONE,
    LEASE,
    QUEUE,
    browse_all,
    bury,
    ids,
    message,
    now,
    push,
    pushed_and_taken,
    reclaim,
    record,
    settle,
    stats,
    take,
)
from tests.store.valkey.opening import opened
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.outcome import Done, Release, Retry
from vtasks_asgi.store.base import Claim, Settlement, State
from vtasks_asgi.store.valkey.store import ValkeyStore

pytestmark = pytest.mark.server

KEY = "vt:{default}:"
#: In place of a value: nothing, too little, what looks right at first, and a lot.
VALUES: list[bytes] = [
    b"",
    b"\x00",
    b"\xff" * 7,
    b"\x00" * 8,
    b"\xff" * 23,
    b"\xff" * 24,
    b"\x7f\xf8" + b"\x00" * 30,
    b"a" * 26,
    b"\xff" * 300,
    struct.pack(">ddII", float("nan"), float("inf"), 2**32 - 1, 2**32 - 1) + b"\xff",
    b"x" * 2**20,
]


@pytest.fixture(autouse=True)
def empty(valkey: Valkey) -> None:
    valkey.empty()


def write(valkey: Valkey, hash: str, id: str, value: bytes) -> None:
    with valkey.client() as client:
        client.hset(KEY + hash, id, value)


async def all_verbs(it: ValkeyStore) -> None:
    """Whatever an operator or a worker may ask: none of it may fail."""
    await it.stats([QUEUE])
    for state in State:
        for found in await browse_all(it, state):
            assert found.state is state
    await it.prune(10)


async def worked_off(it: ValkeyStore, expected: set[str]) -> list[Claim]:
    """Claim and settle until nothing is left: every expected message once."""
    seen: list[Claim] = []
    for _ in range(10):
        claims = [*await take(it), *await reclaim(it)]
        if not claims:
            break
        seen += claims
        settled = await it.settle([Settlement(claim, DONE) for claim in claims])
        assert settled.lost == []
    assert expected <= set(ids(seen))
    assert len(set(ids(seen))) == len(seen)
    counted = await stats(it)
    assert (counted.ready, counted.delayed, counted.running) == (0, 0, 0)
    return seen


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
@pytest.mark.parametrize("hash", ["t", "m", "h"])
async def test_of_a_message_that_waits(valkey: Valkey, hash: str, value: bytes) -> None:
    async with opened(valkey.url) as it:
        good = await push(it, 3)
        [bad] = await push(it)
        delayed = await push(it, 2, run_at=await now(it) + 0.05)
        for id in (bad, delayed[0]):
            write(valkey, hash, id, value)
        await all_verbs(it)
        assert (await record(it, bad)).state is State.READY
        await asyncio.sleep(0.06)
        claims = await worked_off(it, {*good, bad, *delayed})
        assert {claim.body for claim in claims if claim.id not in (bad, delayed[0])} == {b"body"}
        [damaged] = [claim for claim in claims if claim.id == bad]
        if hash == "t":
            assert damaged.body == value[8:]  # whether it can be read is for the runtime to say


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
@pytest.mark.parametrize("hash", ["t", "m", "h", "own"])
async def test_of_a_message_that_runs(valkey: Valkey, hash: str, value: bytes) -> None:
    async with opened(valkey.url) as it:
        await push(it, 3)
        [bad, *good] = (await it.claim(QUEUE, 3, worker="w", lease=-1.0)).claims
        write(valkey, hash, bad.id, value)
        await all_verbs(it)
        assert (await record(it, bad.id)).state is State.RUNNING
        claims = await worked_off(it, {bad.id, *ids(good)})
        assert {claim.lost_worker for claim in claims if claim.id != bad.id} == {"w"}
        assert all(isinstance(claim.lost_worker, str) for claim in claims)
        assert all(isinstance(claim.lost_at, float) for claim in claims)


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
@pytest.mark.parametrize("hash", ["t", "f", "h"])
async def test_of_a_message_that_has_ended(valkey: Valkey, hash: str, value: bytes) -> None:
    async with opened(valkey.url) as it:
        buried = await bury(it, 2)
        kept = [await pushed_and_taken(it) for _ in range(2)]
        for claim in kept:
            await settle(it, claim, Done(b"h", b"v", 60.0))
        for id in (buried[0], kept[0].id):
            write(valkey, hash, id, value)
        await all_verbs(it)
        found = await it.lookup([*buried, *ids(kept)])
        assert [found[id].state for id in buried] == [State.DEAD] * 2
        assert [found[claim.id].state for claim in kept] == [State.DONE] * 2
        assert await it.requeue(buried) == 2
        await worked_off(it, set(buried))
        assert await it.purge(QUEUE, State.DONE) == 2


@pytest.mark.parametrize("hash", ["t", "m", "own"])
async def test_what_was_deleted_comes_as_a_message_nobody_can_read(
    valkey: Valkey, hash: str
) -> None:
    async with opened(valkey.url) as it:
        good = await push(it, 2)
        [bad] = await push(it)
        if hash == "own":
            await it.claim(QUEUE, 3, worker="w", lease=-1.0)
        valkey.ask("HDEL", KEY + hash, bad)
        claims = await worked_off(it, {*good, bad})
        [damaged] = [claim for claim in claims if claim.id == bad]
        assert damaged.body == (b"" if hash == "t" else b"body")


async def test_a_message_without_a_body_can_be_buried_and_shown(valkey: Valkey) -> None:
    async with opened(valkey.url) as it:
        [bad] = await push(it)
        valkey.ask("HDEL", KEY + "t", bad)
        [claim] = await take(it)
        await settle(it, claim, DEAD)
        found = await record(it, bad)
        assert (found.state, found.body, found.reason) == (State.DEAD, b"", "broken")


ODD_MEMBERS = [b"", b"\xff\xfe", b"x" * 2000, "é".encode(), b"a\x00b", b"with space\n"]


@pytest.mark.parametrize("member", ODD_MEMBERS, ids=range(len(ODD_MEMBERS)))
@pytest.mark.parametrize("score", ["-inf", "1e300", "inf", "0.5"])
async def test_members_of_any_name_and_place(valkey: Valkey, member: bytes, score: str) -> None:
    async with opened(valkey.url) as it:
        good = await push(it, 2)
        with valkey.client() as client:
            client.zadd(KEY + "ready", {member: float(score)})
            client.zadd(KEY + "sched", {member + b"2": -1.0})
        await all_verbs(it)
        claims = await take(it)
        assert set(good) <= set(ids(claims))
        for outcome in (Retry(b"h", 0.0), Release(), DEAD):
            assert (await it.settle([Settlement(each, outcome) for each in claims])).lost == []
            claims = await take(it)
        assert claims == []
        await all_verbs(it)


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
async def test_a_damaged_unique_key_holds_nobody_up(valkey: Valkey, value: bytes) -> None:
    async with opened(valkey.url) as it:
        write(valkey, "u", "key", value)
        first = Message(new_id(), QUEUE, b"body", unique="key")
        receipts = [await it.push([first])]
        if not receipts[0][0].stored:  # it looks like a lock kept for ever by a strange id
            assert receipts[0][0].holder
            valkey.ask("HDEL", KEY + "u", "key")
            await it.push([first])
        [claim] = await take(it)
        write(valkey, "u", "key", value)
        assert (await settle(it, claim)).lost == []
        await it.prune(10)


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
async def test_a_damaged_intent_is_dropped_and_its_schedule_goes_on(
    valkey: Valkey, value: bytes
) -> None:
    async with opened(valkey.url) as it:
        with valkey.client() as client:
            client.hset("vt:{*}:intents", "nightly", value)
            client.hset("vt:{*}:intents", "hourly", value)
        assert await it.push_tick("nightly", 5.0, message())
        await it.ticks(["nightly", "hourly"])
        assert await it.push_tick("hourly", 5.0, message())
        assert len(await take(it)) == 2


WRONG_TYPE: list[tuple[str, Callable[[ValkeyStore], Any]]] = [
    ("ready", lambda it: it.push([message()])),
    ("ready", take),
    ("t", lambda it: it.stats([QUEUE])),
    ("lease", reclaim),
]


@pytest.mark.parametrize(("key", "verb"), WRONG_TYPE)
async def test_a_key_of_another_type_is_an_error_of_that_queue_only(
    valkey: Valkey, key: str, verb: Callable[[ValkeyStore], Any]
) -> None:
    async with opened(valkey.url) as it:
        await push(it, 1, "other")
        await push(it)
        await it.claim("other", 1, worker="w", lease=LEASE)
        valkey.ask("DEL", KEY + key)
        valkey.ask("SET", KEY + key, "not what it was")
        with pytest.raises(Exception, match="WRONGTYPE"):
            await verb(it)
        assert (await stats(it, "other")).running == 1
        assert (await it.push([message("other")]))[0].stored
