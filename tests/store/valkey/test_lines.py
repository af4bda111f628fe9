"""What only Valkey has of lines: sets and hashes of their own, of which nothing may be left."""

import pytest

from tests.services.valkey import Valkey
from tests.store.helpers import DEAD, DONE, LEASE, QUEUE, ids, settle, take, take_one
from tests.store.valkey.opening import opened
from vtasks_asgi.core.limits import Limit
from vtasks_asgi.core.message import Message, new_id
from vtasks_asgi.core.outcome import Done
from vtasks_asgi.store.base import State, Store

pytestmark = pytest.mark.server

TURNS = "vt:{default}:turn"


async def push(
    store: Store, count: int, line: int | None = 1, limit: Limit | None = None
) -> list[str]:
    messages = [Message(new_id(), QUEUE, b"", line=line, limit=limit) for _ in range(count)]
    await store.push(messages)
    return [each.id for each in messages]


async def test_nothing_of_a_line_outlives_its_messages(valkey: Valkey) -> None:
    valkey.empty()
    async with opened(valkey.url, dead_letter_cap=1) as it:
        await push(it, 8)
        await settle(it, await take_one(it), DONE)
        await settle(it, await take_one(it), Done(b"h", b"v", 60.0))
        for claim in await take(it, 2):
            await settle(it, claim, DEAD)  # the first one is evicted
        await it.cancel([(await it.browse(QUEUE, State.READY, limit=1))[0][0].id])  # the second
        assert valkey.ask("HLEN", "vt:{default}:l") == 4
        assert valkey.ask("ZCARD", "vt:{default}:line") == 3
        await it.purge(QUEUE, State.READY)
        await it.purge(QUEUE, State.DEAD)
    assert valkey.ask("EXISTS", "vt:{default}:l", "vt:{default}:line", "vt:{default}:m") == 0
    assert valkey.ask("HLEN", TURNS) == 1, "one place for each priority, not for each key"


async def test_what_a_limit_holds_back_is_in_no_line(valkey: Valkey) -> None:
    """Out of the line with what is ready, and into it again with as much as is let go."""
    valkey.empty()
    async with opened(valkey.url) as it:
        await push(it, 5, limit=Limit("key", 1))
        running = await take_one(it)
        assert await take(it, 1) == []
        assert valkey.ask("EXISTS", "vt:{default}:line", "vt:{default}:ready") == 0
        assert valkey.ask("HLEN", "vt:{default}:l") == 5
        await settle(it, running, DONE)
        assert valkey.ask("ZCARD", "vt:{default}:line") == 1
        await it.purge(QUEUE, State.DELAYED)
        await it.purge(QUEUE, State.READY)
    left = [f"vt:{{default}}:{name}" for name in ("l", "line", "m", "limits")]
    assert valkey.ask("EXISTS", *left) == 0


async def test_the_round_goes_on_in_another_process(valkey: Valkey) -> None:
    valkey.empty()
    async with opened(valkey.url) as one, opened(valkey.url) as other:
        flood, small = await push(one, 10, 5), await push(one, 2, 9)
        taken = [ids(await take(store, 1))[0] for store in (one, other, other, one)]
        assert taken == [flood[0], small[0], flood[1], small[1]]


async def test_a_member_that_strangers_left_behind_is_passed_over(valkey: Valkey) -> None:
    valkey.empty()
    async with opened(valkey.url) as it:
        first, second = await push(it, 2)
        valkey.ask("ZREM", "vt:{default}:ready", first)
        claimed = await it.claim(QUEUE, 5, worker="w", lease=LEASE)
        assert ids(claimed.claims) == [second]
        assert valkey.ask("EXISTS", "vt:{default}:line") == 0
