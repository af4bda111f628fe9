"""Servers that change while work goes on: a slot that moves, a node or a primary that dies."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.missing import need
from tests.processes import wait_for
from tests.services.sentinel import PRIMARY, SentinelTrio
from tests.services.valkey_cluster import ValkeyCluster
from tests.store.helpers import QUEUE, message, now, push, stats, take
from tests.store.valkey.feed import Feed
from tests.store.valkey.opening import TIMEOUT, clients, opened, store
from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.store.base import Ticked
from vtasks_asgi.store.valkey.keys import Names

pytestmark = [pytest.mark.server, pytest.mark.slow]

NAMES = Names("vt:")


def cluster_url(cluster: ValkeyCluster) -> str:
    return f"valkey+cluster://{','.join(f'127.0.0.1:{node.port}' for node in cluster.nodes)}"


def sentinel_url(trio: SentinelTrio) -> str:
    hosts = ",".join(f"{host}:{port}" for host, port in trio.addresses)
    return f"valkey+sentinel://{hosts}/{PRIMARY}"


@pytest.fixture
def own_cluster() -> Iterator[ValkeyCluster]:
    need(ValkeyCluster.name, ValkeyCluster.missing())
    with ValkeyCluster() as cluster:
        yield cluster.start()


@pytest.fixture
def trio() -> Iterator[SentinelTrio]:
    need(SentinelTrio.name, SentinelTrio.missing())
    with SentinelTrio() as trio:
        yield trio.start()


async def test_a_feed_goes_on_without_an_error_while_its_slot_moves(
    valkey_cluster: ValkeyCluster,
) -> None:
    valkey_cluster.empty()
    slot = NAMES.queue(QUEUE).slot
    home = valkey_cluster.owner(slot)
    others = [node for node in valkey_cluster.nodes if node is not home]

    def move_around() -> None:
        place = home
        for target in (*others, home, others[0], home):
            time.sleep(0.1)
            valkey_cluster.begin_migration(slot, place, target)
            valkey_cluster.move_keys(slot, place, target, limit=3)
            time.sleep(0.05)  # some of the keys here, some of them there
            valkey_cluster.move_keys(slot, place, target)
            valkey_cluster.end_migration(slot, place, target)
            place = target

    url = cluster_url(valkey_cluster)
    async with opened(url, timeout=3.0) as it:
        feed = Feed(it, url, timeout=3.0)
        running = asyncio.create_task(feed.run())
        await asyncio.to_thread(move_around)
        feed.stopping = True
        await running
        await feed.finish()
        assert feed.errors == []
        assert sorted(feed.done) == sorted(feed.acknowledged)
        assert len(feed.done) > 100


async def test_a_slot_half_moved_is_waited_for_no_longer_than_the_timeout(
    own_cluster: ValkeyCluster,
) -> None:
    slot = NAMES.queue(QUEUE).slot
    source = own_cluster.owner(slot)
    target = next(node for node in own_cluster.nodes if node is not source)
    async with opened(cluster_url(own_cluster), timeout=0.5) as it:
        await push(it)
        own_cluster.begin_migration(slot, source, target)
        own_cluster.move_keys(slot, source, target, limit=1)
        for attempt in (it.push([message()]), asyncio.to_thread(it.push_sync, [message()])):
            with pytest.raises(StoreUnavailable, match="moving this queue's slot"):
                await asyncio.wait_for(attempt, 10)
        assert (await it.push([message("elsewhere")]))[0].stored
        own_cluster.move_keys(slot, source, target)
        own_cluster.end_migration(slot, source, target)
        assert len(await take(it)) == 1


async def test_a_node_that_is_gone_costs_only_its_own_queues(own_cluster: ValkeyCluster) -> None:
    queues = {own_cluster.owner(NAMES.queue(f"q{n}").slot).port: f"q{n}" for n in range(40)}
    registry = own_cluster.owner(NAMES.queues_slot)
    victim = next(node for node in own_cluster.nodes if node is not registry)
    for node in own_cluster.nodes:  # or the others would refuse everything as well
        node.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
    async with opened(cluster_url(own_cluster), timeout=TIMEOUT) as it:
        for queue in queues.values():
            await push(it, 3, queue)
        await asyncio.to_thread(victim.kill)
        for node in own_cluster.nodes:
            if node is not victim:
                assert (await it.push([message(queues[node.port])]))[0].stored
        start = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await it.push([message(queues[victim.port])])
        assert time.monotonic() - start < 3 * TIMEOUT + 5
        await asyncio.to_thread(victim.start)
        deadline = time.monotonic() + 30
        while True:
            try:
                assert (await stats(it, queues[victim.port])).ready >= 3
                break
            except StoreUnavailable:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)


async def test_any_node_is_enough_to_find_the_others(valkey_cluster: ValkeyCluster) -> None:
    valkey_cluster.empty()
    for node in valkey_cluster.nodes:
        async with opened(f"valkey+cluster://127.0.0.1:1,127.0.0.1:{node.port}") as it:
            for n in range(20):
                await push(it, 1, f"q{n}")
    async with opened(cluster_url(valkey_cluster)) as it:
        for n in range(20):
            assert len(await take(it, queue=f"q{n}")) == len(valkey_cluster.nodes)


async def test_a_node_without_its_cluster_names_the_fix(valkey_cluster: ValkeyCluster) -> None:
    stranger = next(
        node for node in valkey_cluster.nodes if node is not valkey_cluster.owner(NAMES.ticks.slot)
    )
    for attempt in (
        store(stranger.url).open(),
        asyncio.to_thread(store(stranger.url).push_sync, [message(f"q{n}") for n in range(20)]),
    ):
        with pytest.raises(StoreUnavailable, match=r"valkey\+cluster://"):
            await attempt


async def test_a_failover_is_followed(trio: SentinelTrio) -> None:
    """What was replicated is there, and from the new primary on nothing is lost or doubled."""
    url = sentinel_url(trio)
    async with opened(url, timeout=1.0) as it:
        before = await push(it, 100)
        delayed = await push(it, 5, run_at=await now(it) + 0.5)
        assert await it.push_tick("nightly", 5.0, None) is Ticked.SKIPPED
        assert trio.primary.ask("WAIT", 2, 5000) == 2
        await asyncio.to_thread(trio.kill_primary)
        feed = Feed(it, url, timeout=1.0)
        running = asyncio.create_task(feed.run())
        await asyncio.to_thread(trio.wait_failover)
        count = len(feed.acknowledged)
        await asyncio.to_thread(
            wait_for, lambda: len(feed.acknowledged) > count + 200, "acknowledged pushes again"
        )
        feed.stopping = True
        await running
        await feed.finish()
        assert feed.errors
        assert len(set(feed.done)) == len(feed.done)
        assert {*before, *delayed} | feed.acknowledged <= set(feed.done)
        assert (await it.ticks(["nightly"])).last == {"nightly": 5.0}


async def test_a_primary_that_was_replaced_in_order_is_left_at_once(trio: SentinelTrio) -> None:
    """It lives on, and would take writes for seconds that it then loses."""
    old, url = trio.primary, sentinel_url(trio)
    async with opened(url, timeout=3.0) as it:
        before = await push(it, 10)
        await asyncio.to_thread(it.push_sync, [message("other")])
        await asyncio.to_thread(it.lookup_sync, before)  # the blocking connection stands
        assert old.ask("WAIT", 2, 5000) == 2
        trio.sentinels[0].ask("SENTINEL", "FAILOVER", PRIMARY)
        await asyncio.to_thread(
            wait_for, lambda: len(clients(old)) <= 1, "only the blocking connection is left there"
        )
        assert old.ask("ROLE")[0] == "master"  # what it took now would be lost
        pushed = message()
        assert (await it.push([pushed]))[0].stored
        await asyncio.to_thread(it.lookup_sync, before)
        assert {claim.id for claim in await take(it)} == {*before, pushed.id}
        new = await asyncio.to_thread(trio.wait_failover)
        assert new.ask("HLEN", "vt:{default}:own") == 11


async def test_sentinels_that_do_not_know_the_service(sentinel: SentinelTrio) -> None:
    url = sentinel_url(sentinel).replace(f"/{PRIMARY}", "/other")
    with pytest.raises(StoreUnavailable, match="no sentinel knows the primary of 'other'"):
        await store(url, timeout=TIMEOUT).open()
    with pytest.raises(StoreUnavailable, match="no sentinel knows the primary of 'other'"):
        await asyncio.to_thread(store(url, timeout=TIMEOUT).push_sync, [message()])
