"""Limits on Valkey: what the index of limited messages costs, survives, and leaves behind."""

import re
from importlib.resources import files

import pytest

from tests.services.valkey import Valkey
from tests.store.helpers import (
    DEAD,
    DONE,
    QUEUE,
    ids,
    now,
    push,
    reclaim,
    record,
    settle,
    stats,
    take,
    take_one,
)
from tests.store.test_contract_limits import ONE, TWO, claim, limited, push_limited, states
from tests.store.valkey.opening import opened
from tests.store.valkey.test_hostile import ODD_MEMBERS, VALUES, all_verbs, write
from vtasks_asgi.core import limits
from vtasks_asgi.core.limits import Limit
from vtasks_asgi.core.outcome import Done, Outcome, Release, Retry
from vtasks_asgi.store.base import Settlement, State

pytestmark = pytest.mark.server

KEY = "vt:{default}:"
INDEX, PACE = KEY + "limits", KEY + "pace"


@pytest.fixture(autouse=True)
def empty(valkey: Valkey) -> None:
    valkey.empty()


def kinds(valkey: Valkey) -> str:
    """What the messages of the index do, a letter each."""
    counts = {kind: valkey.ask("ZLEXCOUNT", INDEX, f"[{kind}", f"[{kind}~") for kind in "hrw"}
    return "".join(kind * count for kind, count in counts.items())


# -- what it costs and leaves behind


async def test_what_has_no_limit_writes_nothing_about_limits(valkey: Valkey) -> None:
    async with opened(valkey.url) as it:
        await push(it, 3)
        await push(it, 2, priority=5, run_at=await now(it) - 1.0)
        claims = await take(it)
        outcomes: list[Outcome] = [DONE, DEAD, Retry(b"h", 0.0), Release(), Retry(b"h", 60.0)]
        pairs = zip(claims, outcomes, strict=True)
        await it.settle([Settlement(*pair) for pair in pairs])
        await reclaim(it)
        assert (valkey.ask("EXISTS", INDEX), valkey.ask("EXISTS", PACE)) == (0, 0)


async def test_nothing_is_left_of_what_has_ended(valkey: Valkey) -> None:
    both = Limit("key", 1, 0.0001)
    async with opened(valkey.url) as it:
        pushed = await push_limited(it, both, 6)
        await it.cancel(pushed[4:])
        outcomes: list[Outcome] = [Done(b"h", b"v", 60.0), DEAD, Retry(b"h", 0.0), Release()]
        for outcome in [*outcomes, DONE, DONE, DONE]:
            if claims := [*await take(it), *await take(it)]:
                await settle(it, claims[0], outcome)
        await push_limited(it, both, 3)
        await take_one(it)
        await take(it)
        await it.purge(QUEUE, State.DELAYED)
        assert kinds(valkey) == "r"
        await it.purge(QUEUE, State.READY)
        valkey.ask("ZADD", PACE, 5, "key")
        await it.prune(10)
        assert valkey.ask("EXISTS", PACE) == 0
        assert valkey.ask("HLEN", KEY + "m") == 1


async def test_members_tell_what_their_messages_do(valkey: Valkey) -> None:
    async with opened(valkey.url) as it:
        await push_limited(it, ONE, 3)
        delayed = limited(ONE, 1)
        delayed[0].run_at = await now(it) + 60.0
        await it.push(delayed)
        assert kinds(valkey) == "wwww"
        held = await take_one(it)
        assert kinds(valkey) == "rwww"
        await take(it)
        assert kinds(valkey) == "hhrw"
        await settle(it, held)
        assert kinds(valkey) == "hww"


# -- what it survives


async def test_without_memory_limits_hold_and_let_go(valkey: Valkey) -> None:
    async with opened(valkey.url) as it:
        pushed = await push_limited(it, ONE, 4)
        valkey.ask("CONFIG", "SET", "maxmemory", 1)
        try:
            done: list[str] = []
            for outcome in (DONE, DEAD, Done(b"h", b"v", 60.0), DONE):
                held = await take_one(it)
                assert await take(it) == []
                assert await reclaim(it) == []
                await settle(it, held, outcome)
                done.append(held.id)
            assert done == pushed
        finally:
            valkey.ask("CONFIG", "SET", "maxmemory", 0)


async def test_a_lost_index_is_made_anew_by_reclaim(valkey: Valkey) -> None:
    async with opened(valkey.url) as it:
        pushed = await push_limited(it, TWO, 5)
        first, second = await take(it)
        assert await take(it) == []
        valkey.ask("DEL", INDEX)
        assert await reclaim(it) == []
        assert kinds(valkey) == "hhhrr"
        await settle(it, first)
        assert ids(await take(it)) == pushed[2:3]
        await settle(it, second)
        assert ids(await take(it)) == pushed[3:4]


async def test_one_that_ran_under_an_older_version_holds_nobody_up(valkey: Valkey) -> None:
    async with opened(valkey.url) as it:
        _, second = await push_limited(it, ONE, 2)
        held = await take_one(it)
        assert await take(it) == []
        held.limit = None  # it would settle like this
        await settle(it, held)
        assert kinds(valkey) == "hr"
        await reclaim(it)
        assert ids(await take(it)) == [second]


async def test_a_body_that_somebody_deleted_does_not_stop_its_key(valkey: Valkey) -> None:
    async with opened(valkey.url) as it:
        _, second, third = await push_limited(it, ONE, 3)
        held = await take_one(it)
        await take(it)
        for key in ("t", "m", "sched"):
            valkey.ask("ZREM" if key == "sched" else "HDEL", KEY + key, second)
        await settle(it, held)
        assert await states(it, [third]) == [State.READY]
        assert ids(await take(it)) == [third]


@pytest.mark.parametrize("value", [None, *VALUES], ids=range(len(VALUES) + 1))
async def test_a_held_message_whose_meta_is_damaged_comes_out(
    valkey: Valkey, value: bytes | None
) -> None:
    async with opened(valkey.url) as it:
        pushed = await push_limited(it, ONE, 3)
        held = await take_one(it)
        await take(it)
        if value is None:
            valkey.ask("HDEL", KEY + "m", pushed[1])
        else:
            write(valkey, "m", pushed[1], value)
        await all_verbs(it)
        assert (await record(it, pushed[1])).state is State.DELAYED
        await reclaim(it)
        assert ids(await take(it)) == [pushed[1]]
        await settle(it, held)
        assert ids(await take(it)) == pushed[2:]


TAILS = [b"", b"5", b"0 - key", b"- - key", b"5 - ", b"- 0 key", b"- nan key", b"- inf key"]
TAILS += [b"5-3 - key", b"- 1e999 key", b"5 - " + b"k" * 65, b"5 - \xff", b"- -1 key", b"5  key"]


@pytest.mark.parametrize("tail", TAILS, ids=range(len(TAILS)))
async def test_a_limit_that_cannot_be_read_is_none(valkey: Valkey, tail: bytes) -> None:
    async with opened(valkey.url) as it:
        [bad] = await push_limited(it, ONE)
        good = await push_limited(it, ONE, 1)
        write(valkey, "m", bad, bytes(24) + b"unique\x00" + tail)
        claimed = await claim(it)
        assert ids(claimed.claims) == [bad, *good]
        assert [each.limit for each in claimed.claims] == [None, ONE]
        assert claimed.claims[0].unique == "unique"
        await it.settle([Settlement(each, DONE) for each in claimed.claims])
        await reclaim(it)
        assert valkey.ask("EXISTS", INDEX) == 0


async def test_members_of_any_name_are_dropped(valkey: Valkey) -> None:
    odd = [*ODD_MEMBERS, b"h", b"r\xff", b"w\x03key", b"h\x00", b"h\x03keyshort", b"r\x03keynobody"]
    async with opened(valkey.url) as it:
        with valkey.client() as client:
            client.zadd(INDEX, dict.fromkeys([*odd, b"h\x03key" + bytes(8) + b"nobody"], 0))
            client.zadd(KEY + "sched", {b"stranger": 2e12})
        pushed = await push_limited(it, TWO, 4)
        await all_verbs(it)
        claims = await take(it)
        await take(it)
        await reclaim(it)
        await settle(it, claims[0])
        assert await reclaim(it) == []
        seen = ids(claims)
        while claims := await take(it):
            seen += ids(claims)
            await settle(it, claims[0])
        assert set(pushed) <= set(seen)
        assert len(await push_limited(it, Limit("another", 1))) == 1


async def test_a_pace_far_ahead_is_an_operators_to_forget(valkey: Valkey) -> None:
    slow = Limit("key", None, 10.0)
    async with opened(valkey.url) as it:
        await push_limited(it, slow, 2)
        await take(it)
        await take(it)
        valkey.ask("DEL", PACE)
        [third] = await push_limited(it, slow)
        assert ids(await take(it)) == [third]


async def test_keys_of_any_text(valkey: Valkey) -> None:
    keys = ["k", "kk", "k k", "k\x01", "'", "%s", "\n", "\x7f" * 64]
    async with opened(valkey.url) as it:
        pushed = {key: await push_limited(it, Limit(key, 1), 2) for key in keys}
        claims = await take(it)
        assert [each.limit for each in claims] == [Limit(key, 1) for key in keys]
        assert await take(it) == []
        await it.settle([Settlement(each, DONE) for each in claims])
        assert ids(await take(it)) == [both[1] for both in pushed.values()]


async def test_reclaim_looks_after_very_many_keys_in_several_calls(valkey: Valkey) -> None:
    async with opened(valkey.url) as it:
        pushed = [await push_limited(it, Limit(f"{n:064x}", 1), 2) for n in range(150)]
        claims = await take(it)
        assert len(claims) == 150
        await take(it)
        for each in claims:
            each.limit = None
        await it.settle([Settlement(each, DONE) for each in claims])
        for _ in range(200):
            if (await stats(it)).ready == 150:
                break
            await reclaim(it)
        assert sorted(ids(await take(it))) == sorted(both[1] for both in pushed)


async def test_a_limit_of_many_lets_go_as_many_at_once(valkey: Valkey) -> None:
    many = Limit("key", 1500)
    async with opened(valkey.url) as it:
        pushed = await push_limited(it, many, 4000)
        claims = [*await take(it), *await take(it), *await take(it)]
        assert ids(claims) == pushed[:1500]
        while (await claim(it)).next_due is not None:
            pass
        assert (await stats(it)).delayed == 2500
        await it.settle([Settlement(each, DONE) for each in claims])
        again = [*await take(it), *await take(it), *await take(it)]
        assert ids(again) == pushed[1500:3000]


async def test_who_settled_under_an_older_version_is_found_among_very_many(valkey: Valkey) -> None:
    async with opened(valkey.url) as it:
        _, second = await push_limited(it, ONE, 2)
        held = await take_one(it)
        await take(it)
        await push_limited(it, Limit("another", 1), 5000)
        held.limit = None
        await settle(it, held)
        await reclaim(it)
        assert (await record(it, second)).state is State.READY


def test_both_sides_know_the_same_numbers() -> None:
    lua = (files("vtasks_asgi.store.valkey") / "lua" / "lib_gates.lua").read_text("utf-8")
    [names, values] = re.findall(r"^local (HELD.*) = (.*)$", lua, re.MULTILINE)[0]
    told = dict(zip(names.split(", "), map(float, values.split(", ")), strict=True))
    assert told == {name: getattr(limits, name) for name in told}
