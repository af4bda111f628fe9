"""What a server or the way to it may do: every call is answered in time, and nothing is lost."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import uvloop

from tests.missing import need
from tests.processes import wait_for
from tests.runtime.helpers import turns
from tests.services.relay import Relay
from tests.services.valkey import Valkey
from tests.store.helpers import (
    DEAD,
    DONE,
    LEASE,
    QUEUE,
    ids,
    message,
    push,
    pushed_and_taken,
    reclaim,
    settle,
    stats,
    take,
)
from tests.store.valkey.opening import TIMEOUT, clients, opened
from vtasks_asgi.core.errors import StoreError, StoreUnavailable
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.outcome import Done, Outcome, Retry
from vtasks_asgi.store.base import Claim, Receipt, Settlement, State
from vtasks_asgi.store.valkey.store import ValkeyStore

pytestmark = pytest.mark.server

#: No call may take longer: connecting anew has a time limit of its own.
PATIENCE = 2 * TIMEOUT + 5


@pytest.fixture
def own() -> Iterator[Valkey]:
    """A server of this test's alone."""
    need(Valkey.name, Valkey.missing())
    with Valkey() as server:
        yield server.start()


@pytest.fixture
def relay(valkey: Valkey) -> Iterator[Relay]:
    valkey.empty()
    with Relay(valkey.port) as relay:
        yield relay


def through(relay: Relay) -> str:
    return f"valkey://127.0.0.1:{relay.port}"


# -- scripts


async def test_a_server_that_has_forgotten_the_scripts_is_sent_them_again(valkey: Valkey) -> None:
    valkey.empty()
    async with opened(valkey.url) as it:
        await push(it, 10)
        for _ in range(3):
            valkey.ask("SCRIPT", "FLUSH")
            receipts = await asyncio.gather(*(it.push([message()]) for _ in range(50)))
            assert all(receipt.stored for [receipt] in receipts)
            assert (await asyncio.to_thread(it.push_sync, [message()]))[0].stored
            valkey.ask("SCRIPT", "FLUSH")
            claims = await take(it)
            valkey.ask("SCRIPT", "FLUSH")
            assert await extended(it, claims) == []
            assert (await it.settle([Settlement(claim, DONE) for claim in claims])).lost == []
        assert (await stats(it)).ready == 0


async def test_a_bulk_keeps_its_order_when_the_scripts_are_forgotten(valkey: Valkey) -> None:
    valkey.empty()
    async with opened(valkey.url) as it:
        valkey.ask("SCRIPT", "FLUSH")
        pushed = await push(it, 3500)
        taken = [id for _ in range(4) for id in ids(await take(it))]
        assert taken == pushed


# -- memory


async def test_without_memory_nothing_new_is_taken_and_work_is_finished(own: Valkey) -> None:
    async with opened(own.url) as it:
        pushed = await push(it, 20, body=bytes(1000))
        [buried] = [(await pushed_and_taken(it, "other")).id]
        own.ask("CONFIG", "SET", "maxmemory", 1)
        for attempt in (it.push([message()]), asyncio.to_thread(it.push_sync, [message()])):
            with pytest.raises(StoreUnavailable, match="out of memory"):
                await attempt
        with pytest.raises(StoreUnavailable, match="out of memory"):
            await it.push_tick("nightly", 5.0, message())
        claims = await take(it)
        assert ids(claims) == pushed
        assert await extended(it, claims, -1.0) == []
        claims = await reclaim(it)
        assert sorted(ids(claims)) == sorted(pushed)
        outcomes: list[Outcome] = [Done(b"h", b"v", 60.0), DEAD, DONE, Retry(b"h", 0.0)] * 5
        pairs = zip(claims, outcomes, strict=True)
        settled = await it.settle([Settlement(*pair) for pair in pairs])
        assert settled.lost == []
        assert len(await take(it)) == 5
        assert await it.purge(QUEUE, State.DEAD) == 5
        own.ask("CONFIG", "SET", "maxmemory", 0)
        assert (await it.ticks(["nightly"])).last == {}
        assert (await it.push([message()]))[0].stored
        assert buried in await it.lookup([buried])


# -- the way there


async def test_a_push_whose_answer_is_lost_may_be_made_again(relay: Relay, valkey: Valkey) -> None:
    async with opened(through(relay), timeout=TIMEOUT) as it:
        await push(it)
        pushed = message()
        relay.replies.swallow = True
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(it.push([pushed]), PATIENCE)
        assert valkey.ask("ZCARD", "vt:{default}:ready") == 2  # executed all the same
        relay.heal()
        assert [each.stored for each in await _until_it_works(it, pushed)] == [False]
        assert (await stats(it)).ready == 2


async def extended(it: ValkeyStore, claims: list[Claim], lease: float = LEASE) -> list[Claim]:
    """Extend as the thread does that renews leases."""
    return await asyncio.to_thread(lambda: it.extend(claims, lease=lease))


async def _until_it_works(it: ValkeyStore, pushed: Message) -> list[Receipt]:
    deadline = time.monotonic() + 20
    while True:
        try:
            return await it.push([pushed])
        except StoreUnavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


async def test_a_settlement_whose_answer_is_lost_may_be_made_again(relay: Relay) -> None:
    async with opened(through(relay), timeout=TIMEOUT) as it:
        await settle(it, await pushed_and_taken(it))  # the server knows the script from here on
        claim = await pushed_and_taken(it)
        relay.replies.swallow = True
        with pytest.raises(StoreUnavailable):
            await settle(it, claim)
        relay.heal()
        await _until_it_works(it, message("other"))
        assert (await settle(it, claim)).lost == [claim]
        assert await it.lookup([claim.id]) == {}


async def test_cut_in_the_middle_of_anything(relay: Relay) -> None:
    """Wherever a request or its answer breaks off, what was acknowledged is there, once."""
    async with opened(through(relay), timeout=TIMEOUT) as it:
        acknowledged: list[str] = []
        for cut in range(1, 400, 7):
            way = relay.requests if cut % 2 else relay.replies
            relay.heal()
            await _until_it_works(it, message("other"))
            way.cut_after = cut
            messages = [message(body=bytes(20)) for _ in range(4)]
            answers = await asyncio.gather(
                *(it.push([each]) for each in messages), return_exceptions=True
            )
            for each, answer in zip(messages, answers, strict=True):
                assert isinstance(answer, list | StoreUnavailable)
                if isinstance(answer, list):
                    acknowledged.append(each.id)
        relay.heal()
        await _until_it_works(it, message("other"))
        taken = ids(await take(it))
        assert len(set(taken)) == len(taken)
        assert set(acknowledged) <= set(taken)


@pytest.mark.parametrize("harm", ["cut", "half_close", "kill"])
async def test_connections_that_end_are_made_anew(relay: Relay, valkey: Valkey, harm: str) -> None:
    async with opened(through(relay), timeout=TIMEOUT) as it:
        await take(it)
        waiting = asyncio.create_task(it.wait([QUEUE], 60.0))
        await asyncio.to_thread(it.push_sync, [message("other")])
        await extended(it, [])
        for _ in range(5):
            if harm == "kill":
                valkey.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                valkey.ask("CLIENT", "KILL", "TYPE", "pubsub")
            else:
                await asyncio.to_thread(getattr(relay, harm))
            await _until_it_works(it, message("other"))
            claim = await pushed_and_taken(it, "third")
            with suppress(StoreUnavailable):  # the blocking connection finds out by using it
                await extended(it, [claim])
            assert await extended(it, [claim]) == []
        await push(it)
        await asyncio.wait_for(waiting, 15)


async def test_the_doorbell_is_heard_again_after_its_connection_was_lost(
    relay: Relay, valkey: Valkey
) -> None:
    async with opened(through(relay), timeout=TIMEOUT) as it, opened(valkey.url) as other:
        await take(it)
        await it.wait([QUEUE], 0.05)
        for _ in range(3):
            await asyncio.to_thread(relay.cut)
            await _until_it_works(it, message("other"))
            while await take(it):
                pass
            waiting = asyncio.create_task(it.wait([QUEUE], 60.0))
            await asyncio.to_thread(
                wait_for,
                lambda: valkey.ask("PUBSUB", "NUMSUB", "vt:{default}:idle")[1] == 1,
                "a new subscription",
            )
            await other.push([message()])
            await asyncio.wait_for(waiting, 15)


async def test_a_frozen_server_is_answered_for_in_time(own: Valkey) -> None:
    async with opened(own.url, timeout=TIMEOUT) as it:
        claim = await pushed_and_taken(it)
        await extended(it, [claim])
        await asyncio.to_thread(own.freeze)
        start = time.monotonic()
        attempts = [
            it.push([message()]),
            take(it),
            settle(it, claim),
            it.stats([QUEUE]),
            extended(it, [claim]),
            asyncio.to_thread(it.lookup_sync, [claim.id]),
        ]
        answers = await asyncio.gather(*attempts, return_exceptions=True)
        assert all(isinstance(answer, StoreUnavailable) for answer in answers)
        with pytest.raises(StoreUnavailable):
            await it.push([message()])
        assert time.monotonic() - start < 2 * PATIENCE
        await asyncio.to_thread(own.thaw)
        await _until_it_works(it, message())
        # The claim may have been carried out on waking; nobody got the answer, so its lease ends.
        assert (await stats(it)).running <= 2


async def test_a_caller_who_gives_up_leaves_the_connection_to_the_others(
    relay: Relay, valkey: Valkey
) -> None:
    async with opened(through(relay)) as it:
        await push(it)
        connected = {each["id"] for each in clients(valkey)}
        relay.replies.delay = 0.3
        calls = [asyncio.create_task(it.stats([f"queue {n}"])) for n in range(40)]
        await turns()  # all have been sent, and no answer can be here yet
        for call in calls[::2]:
            call.cancel()
        await asyncio.wait(calls)
        for n, call in enumerate(calls):
            assert call.cancelled() == (n % 2 == 0)
            if n % 2:
                assert list(call.result()) == [f"queue {n}"]
        assert {each["id"] for each in clients(valkey)} == connected


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_loop_that_was_blocked_for_long_blames_nobody(
    relay: Relay, make_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """The answer has long been there, but it takes the loop some turns to read it."""
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(_pushes_and_blocks(relay))


async def _pushes_and_blocks(relay: Relay) -> None:
    async with opened(f"valkey://127.0.0.1:{relay.target}") as patient:
        await push(patient, body=bytes(8 * 2**20))
    async with opened(through(relay), timeout=TIMEOUT) as it:
        relay.replies.delay = 0.2
        taking = asyncio.create_task(take(it))
        await asyncio.sleep(0.05)
        time.sleep(1.5 * TIMEOUT)  # noqa: ASYNC251 - as a task does that computes
        assert len(await taking) == 1


async def test_a_server_that_comes_back_has_kept_what_it_acknowledged(own: Valkey) -> None:
    async with opened(own.url, timeout=TIMEOUT) as it:
        pushed = await push(it, 50)
        await asyncio.to_thread(own.kill)
        with pytest.raises(StoreUnavailable):
            await it.push([message()])
        await asyncio.to_thread(own.start)
        last = message()
        await _until_it_works(it, last)
        assert ids(await take(it)) == [*pushed, last.id]


async def test_an_error_of_one_queue_reaches_only_who_pushes_to_it(valkey: Valkey) -> None:
    valkey.empty()
    async with opened(valkey.url) as it:
        await push(it, 1, "good")
        valkey.ask("SET", "vt:{bad}:t", "no hash")
        answers = await asyncio.gather(
            it.push([message("good")]),
            it.push([message("bad")]),
            it.push([message("good"), message("good")]),
            return_exceptions=True,
        )
        assert isinstance(answers[1], StoreError)
        assert "WRONGTYPE" in str(answers[1])
        assert [len(answers[n]) for n in (0, 2)] == [1, 2]  # type: ignore[arg-type]


async def test_a_message_that_cannot_be_packed_harms_nobody_else(valkey: Valkey) -> None:
    valkey.empty()
    async with opened(valkey.url) as it:
        broken = message(body=None)  # type: ignore[arg-type]
        answers = await asyncio.gather(
            *(it.push([each]) for each in (message(), broken, message())), return_exceptions=True
        )
        assert [isinstance(answer, TypeError) for answer in answers] == [False, True, False]
        assert (await stats(it)).ready == 2
