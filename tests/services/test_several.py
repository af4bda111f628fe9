"""Valkeys that belong together: a slot really migrates, a failover really happens."""

from contextlib import closing
from typing import Any

import pytest
from valkey import ResponseError
from valkey.cluster import ValkeyCluster as ClusterClient
from valkey.sentinel import Sentinel as SentinelClient

from tests.missing import need
from tests.processes import wait_for
from tests.services.sentinel import PRIMARY, SentinelTrio
from tests.services.valkey_cluster import ValkeyCluster

pytestmark = [pytest.mark.server, pytest.mark.slow]

KEYS = 250
# The client leaves these calls of its own untyped.
cluster_client: Any = ClusterClient.from_url
sentinel_client: Any = SentinelClient


def test_a_cluster_spreads_keys_over_its_nodes(valkey_cluster: ValkeyCluster) -> None:
    valkey_cluster.empty()
    with closing(cluster_client(valkey_cluster.urls[0])) as client:
        for number in range(KEYS):
            client.set(f"key{number}", number)
    sizes = [node.ask("DBSIZE") for node in valkey_cluster.nodes]
    assert sum(sizes) == KEYS
    assert all(sizes), sizes


def test_a_slot_migrates_with_its_keys_and_clients_follow(valkey_cluster: ValkeyCluster) -> None:
    valkey_cluster.empty()
    slot = valkey_cluster.slot("{a}")
    source = valkey_cluster.owner(slot)
    target = next(node for node in valkey_cluster.nodes if node is not source)
    for number in range(KEYS):
        source.ask("SET", f"{{a}}{number}", number)

    valkey_cluster.begin_migration(slot, source, target)
    assert valkey_cluster.move_keys(slot, source, target, limit=120) == 120
    with pytest.raises(ResponseError, match="ASK"):
        source.ask("GET", "{a}no such key")
    assert valkey_cluster.move_keys(slot, source, target) == KEYS - 120
    valkey_cluster.end_migration(slot, source, target)

    assert valkey_cluster.owner(slot) is target
    with pytest.raises(ResponseError, match="MOVED"):
        source.ask("GET", "{a}7")
    assert target.ask("CLUSTER", "COUNTKEYSINSLOT", slot) == KEYS
    valkey_cluster.migrate_slot(slot, target, source)
    assert valkey_cluster.owner(slot) is source
    assert source.ask("GET", "{a}7") == "7"


def test_a_killed_node_comes_back_with_its_slots_and_keys() -> None:
    need(ValkeyCluster.name, ValkeyCluster.missing())
    with ValkeyCluster() as it:
        node = it.start().nodes[0]
        node.ask("SET", "b", "a value")  # the first third is the first node's
        node.kill()
        node.start()
        wait_for(lambda: "cluster_state:ok" in node.ask("CLUSTER", "INFO"), "it is back")
        assert node.ask("GET", "b") == "a value"


def test_another_server_becomes_primary_when_the_first_is_killed() -> None:
    need(SentinelTrio.name, SentinelTrio.missing())
    with SentinelTrio() as it:
        it.start()
        client = sentinel_client(it.addresses)
        assert client.discover_master(PRIMARY) == ("127.0.0.1", it.primary.port)
        it.primary.ask("SET", "kept", "a value")
        it.primary.ask("WAIT", 2, 0)

        old = it.kill_primary()
        new = it.wait_failover()

        assert not old.alive
        assert old in it.replicas
        assert new is not old
        assert client.discover_master(PRIMARY) == ("127.0.0.1", new.port)
        assert new.ask("GET", "kept") == "a value"
        for sentinel in client.sentinels:
            sentinel.close()
