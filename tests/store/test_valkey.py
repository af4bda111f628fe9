"""What only Valkey has: its memory, its doorbell, steps that bound a script, prefixes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.services.valkey import Valkey
from tests.store import server_time
from tests.store.helpers import (
    DONE,
    QUEUE,
    browse_all,
    ids,
    message,
    now,
    push,
    reclaim,
    stats,
    take,
)
from tests.store.valkey.opening import opened
from vtasks_asgi.store.base import Settlement, State
from vtasks_asgi.store.valkey import pushing
from vtasks_asgi.store.valkey.store import ValkeyStore

pytestmark = pytest.mark.server


@asynccontextmanager
async def emptied(valkey: Valkey) -> AsyncIterator[ValkeyStore]:
    """A store on a server without a key."""
    valkey.empty()
    async with opened(valkey.url) as it:
        yield it


def calls(valkey: Valkey, command: str) -> int:
    """How often a command was executed, in scripts as well."""
    with valkey.client() as client:
        told = client.info("commandstats").get(f"cmdstat_{command}")
    return int(told["calls"]) if told else 0


def memory(valkey: Valkey) -> int:
    with valkey.client() as client:
        return int(client.info("memory")["used_memory"])


@pytest.mark.slow
async def test_a_queued_message_of_300_bytes_takes_no_more_than_700(valkey: Valkey) -> None:
    count = 40_000
    async with emptied(valkey) as it:
        before = memory(valkey)
        await it.push([message(body=bytes(300)) for _ in range(count)])
        assert (memory(valkey) - before) / count <= 700


async def test_what_has_ended_leaves_no_memory_behind(valkey: Valkey) -> None:
    async with emptied(valkey) as it:
        await push(it, 500, run_at=await now(it) - 5)
        claims = await take(it)
        await it.settle([Settlement(claim, DONE) for claim in claims])
    assert set(valkey.ask("KEYS", "*")) == {"vt:queues", "vt:{default}:seq"}


async def test_only_who_found_nothing_is_rung_for(valkey: Valkey) -> None:
    valkey.ask("CONFIG", "RESETSTAT")
    async with emptied(valkey) as it, opened(valkey.url) as other:
        await push(it, 3)
        assert len(await take(it, 1)) == 1
        await other.push([message()])
        await it.push([message()])
        assert calls(valkey, "publish") == 0
        await take(it)
        assert await take(it) == []
        await other.push([message()])
        assert calls(valkey, "publish") == 1
        await other.push([message()])
        assert calls(valkey, "publish") == 1


async def test_a_ring_comes_within_milliseconds(valkey: Valkey) -> None:
    """Bounded generously: what is told apart is a ring from the next look."""
    async with emptied(valkey) as it, opened(valkey.url) as other:
        await take(it)
        await it.wait([QUEUE], 0.05)
        for _ in range(5):
            assert await take(it) == []
            waiting = asyncio.create_task(it.wait([QUEUE], 60.0))
            await asyncio.sleep(0.01)
            await other.push([message()])
            await asyncio.wait_for(waiting, 20.0)
            assert len(await take(it)) == 1


async def test_prefixes_share_nothing(valkey: Valkey) -> None:
    valkey.empty()
    async with opened(valkey.url, prefix="a:") as one, opened(valkey.url, prefix="b:") as two:
        [pushed] = await push(one)
        await push(two, 2)
        assert await two.lookup([pushed]) == {}
        assert await two.purge(QUEUE, State.READY) == 2
        assert await one.push_tick("nightly", 5.0, None)
        assert (await two.ticks(["nightly"])).last == {}
        assert ids(await take(one)) == [pushed]
    assert {key[:2] for key in valkey.ask("KEYS", "*")} == {"a:", "b:"}


@pytest.fixture
def server_clock() -> Iterator[Callable[[float], None]]:
    """From its call on, it is that time for the scripts."""
    yield server_time.tell
    server_time.tell(None)


async def test_a_backlog_of_delayed_messages_is_promoted_in_steps(
    valkey: Valkey, server_clock: Callable[[float], None]
) -> None:
    count = 9_000
    async with emptied(valkey) as it:
        start = await now(it)
        await it.push([message(run_at=start + 3600.0) for _ in range(count)])
        assert (await stats(it)).ready == 0
        server_clock(start + 3601.0)
        assert (await stats(it)).ready == count
        claimed = await it.claim(QUEUE, 10, worker="w", lease=30.0)
        assert (len(claimed.claims), claimed.next_due) == (10, 0.0)
        taken = len(claimed.claims)
        while claims := await take(it):
            taken += len(claims)
        assert taken == count


@pytest.mark.parametrize("before", [False, True])
async def test_a_purge_goes_in_steps(valkey: Valkey, before: bool) -> None:
    async with emptied(valkey) as it:
        await push(it, 2_500)
        moment = await now(it) + 1
        kept = await push(it, 3, "other")
        purged = await it.purge(QUEUE, State.READY, before=moment if before else None)
        assert purged == 2_500
        assert set(await it.lookup(kept)) == set(kept)
        assert (await stats(it)).ready == 0


async def test_pages_of_messages_due_at_one_moment(valkey: Valkey) -> None:
    """They tie in the sorted set; the position between two pages is an id that may be gone."""
    async with emptied(valkey) as it:
        due = await now(it) + 3600
        delayed = set(await push(it, 40, run_at=due))
        for size in (1, 7, 40, 100):
            assert set(ids(await browse_all(it, State.DELAYED, page=size))) == delayed
        page, cursor = await it.browse(QUEUE, State.DELAYED, limit=10)
        gone = {page[-1].id, page[-2].id}
        for id in gone:
            valkey.ask("ZREM", "vt:{default}:sched", id)
        rest = ids(page)
        while cursor is not None:
            page, cursor = await it.browse(QUEUE, State.DELAYED, limit=7, cursor=cursor)
            rest += ids(page)
        assert sorted(rest) == sorted(delayed)


async def test_leases_that_end_together_are_all_taken_over(valkey: Valkey) -> None:
    async with emptied(valkey) as it:
        pushed = await push(it, 500)
        await it.claim(QUEUE, 500, worker="w", lease=-1.0)
        found: list[str] = []
        while claims := await reclaim(it, 64):
            found += ids(claims)
        assert sorted(found) == sorted(pushed)


async def test_a_server_that_lost_everything_hears_of_the_queue_again(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with emptied(valkey) as it:
        await push(it)
        valkey.empty()
        monkeypatch.setattr(pushing, "REGISTER_EVERY", 0.0)
        [pushed] = await push(it)
        assert set(await it.lookup([pushed])) == {pushed}


async def test_a_bulk_of_many_is_in_order_and_answered_in_order(valkey: Valkey) -> None:
    async with emptied(valkey) as it:
        messages = [message(body=b"%d" % n) for n in range(5_000)]
        again = messages[1_234]
        receipts = await it.push([*messages, again, message()])
        assert [receipt.id for receipt in receipts[:5_000]] == [each.id for each in messages]
        assert [receipt.stored for receipt in receipts[-2:]] == [False, True]
        taken = []
        while claims := await take(it):
            taken += claims
        assert [claim.body for claim in taken[:5_000]] == [each.body for each in messages]
