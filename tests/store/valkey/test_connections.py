"""Every way to reach a server, what is said when that fails, and how many connections it takes."""

import asyncio
import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
import uvloop
from valkey.asyncio import BlockingConnectionPool, ConnectionPool

from tests.missing import need
from tests.processes import free_port, wait_for
from tests.services.valkey import Valkey
from tests.store.helpers import LEASE, QUEUE, message, pushed_and_taken, settle, take
from tests.store.valkey.opening import clients, opened, store
from vtasks_asgi.core.errors import StoreError, StoreUnavailable
from vtasks_asgi.store.valkey.pool import endpoint_of
from vtasks_asgi.store.valkey.store import ValkeyStore

pytestmark = pytest.mark.server

PASSWORD = "hunter2 ünd {more}"
QUOTED = "hunter2%20%C3%BCnd%20%7Bmore%7D"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Valkey]:
    """TLS, a Unix socket, and a user with a password."""
    need(Valkey.name, Valkey.missing())
    # The server's file of rules knows no spaces in passwords, but hashes of them.
    digest = sha256(PASSWORD.encode()).hexdigest()
    worker = f"on #{digest} ~* &* +@all"
    with Valkey(aof=False, tls=True, unix_socket=True, users={"worker": worker}) as server:
        yield server.start()


def tls(server: Valkey, host: str = "127.0.0.1", **options: str) -> str:
    assert server.certificates
    options = {"ssl_ca_certs": str(server.certificates.authority)} | options
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return f"valkeys://worker:{QUOTED}@{host}:{server.port}/0?{query}"


async def works(url: str) -> None:
    """Push, claim and settle, awaited and from a thread."""
    async with opened(url) as it:
        await it.push([message()])
        await asyncio.to_thread(it.push_sync, [message()])
        claims = await take(it)
        assert len(claims) == 2
        assert await asyncio.to_thread(lambda: it.extend(claims, lease=LEASE)) == []
        for claim in claims:
            assert (await settle(it, claim)).lost == []
    unopened = store(url)
    pushed = message()
    await asyncio.to_thread(unopened.push_sync, [pushed])
    assert pushed.id in await asyncio.to_thread(unopened.lookup_sync, [pushed.id])


async def test_tls_with_a_known_authority(guarded: Valkey) -> None:
    guarded.empty()
    await works(tls(guarded))


async def test_a_unix_socket_with_a_database_and_a_password(guarded: Valkey) -> None:
    guarded.empty()
    await works(f"unix://worker:{QUOTED}@{guarded.socket}?db=3")
    assert "db3" in guarded.ask("INFO", "keyspace")


async def test_a_certificate_of_an_unknown_authority_is_refused(guarded: Valkey) -> None:
    url = f"valkeys://127.0.0.1:{guarded.port}"
    with pytest.raises(StoreUnavailable, match="certificate"):
        await store(url).open()
    with pytest.raises(StoreUnavailable, match="certificate"):
        await asyncio.to_thread(store(url).push_sync, [message()])


async def test_a_certificate_for_another_host_is_refused(
    guarded: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = socket.getaddrinfo

    def resolve(host: str, *args: object, **kwargs: object) -> object:
        name = "127.0.0.1" if host in ("elsewhere.example", b"elsewhere.example") else host
        return known(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(StoreUnavailable, match="certificate"):
        await store(tls(guarded, "elsewhere.example")).open()
    await works(tls(guarded, "elsewhere.example", ssl_check_hostname="false"))


@pytest.mark.parametrize("login", ["worker:hunter3", "nobody:hunter3", ":hunter3"])
async def test_a_wrong_password_is_named_as_such_and_not_shown(guarded: Valkey, login: str) -> None:
    url = f"unix://{login}@{guarded.socket}"
    for attempt in (store(url).open(), asyncio.to_thread(store(url).push_sync, [message()])):
        with pytest.raises(StoreError) as caught:
            await attempt
        shown = f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
        assert "hunter" not in shown
        assert "password" in shown


async def test_a_server_that_repeats_what_it_was_told(guarded: Valkey) -> None:
    """A proxy or an old server without AUTH says: unknown command, with args beginning with…"""
    said = b"-ERR unknown command 'AUTH', with args beginning with: 'worker' 'hunter2'\r\n" * 3

    def serve(listening: socket.socket) -> None:
        client, _ = listening.accept()
        with client:
            client.recv(1000)
            client.sendall(said)
            client.recv(1000)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=[listening], daemon=True)
        thread.start()
        url = f"valkey://worker:hunter2@127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(StoreError, match="unknown command") as caught:
            await store(url).open()
        thread.join()
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__!r}"


async def test_a_server_that_is_not_there_and_then_is(valkey: Valkey) -> None:
    port = free_port()
    it = store(f"valkey://127.0.0.1:{port}")
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port} cannot be reached"):
        await it.open()
    with pytest.raises(StoreUnavailable, match="not open"):
        await it.push([message()])
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await asyncio.to_thread(it.push_sync, [message()])
    with Valkey(aof=False) as server:
        server.port = server._lines["port"] = port
        server.start()
        await it.open()
        assert (await it.push([message()]))[0].stored
        await it.aclose()


@pytest.mark.parametrize("bytes_sent", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff" * 50])
async def test_something_else_listens_there(bytes_sent: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(bytes_sent)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"valkey://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(StoreUnavailable):
            await store(url).open()
        with pytest.raises(StoreUnavailable):
            await asyncio.to_thread(store(url).push_sync, [message()])


async def test_a_process_holds_three_connections_at_the_most(valkey: Valkey) -> None:
    valkey.empty()
    others = {each["id"] for each in clients(valkey)}  # earlier tests' stores, not yet collected

    def ours() -> int:
        return len([each for each in clients(valkey) if each["id"] not in others])

    async with opened(valkey.url) as it:
        claim = await pushed_and_taken(it)
        waits = [asyncio.create_task(it.wait([f"q{n}", QUEUE], 0.2)) for n in range(5)]
        await asyncio.gather(
            *(asyncio.to_thread(it.push_sync, [message()]) for _ in range(10)),
            *(asyncio.to_thread(it.lookup_sync, [claim.id]) for _ in range(10)),
            asyncio.to_thread(lambda: it.extend([claim], lease=LEASE)),
            *(it.push([message()]) for _ in range(50)),
            *(it.stats([QUEUE]) for _ in range(10)),
        )
        assert ours() == 3
        await asyncio.gather(*waits)
    await asyncio.to_thread(wait_for, lambda: ours() == 0, "the connections are gone")


def test_on_uvloop(valkey: Valkey) -> None:
    valkey.empty()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(works(valkey.url))


def test_on_uvloop_with_tls(guarded: Valkey) -> None:
    guarded.empty()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(works(tls(guarded)))


# -- the application's pool


@pytest.mark.parametrize("kind", [ConnectionPool, BlockingConnectionPool])
@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_pool_lends_two_connections_and_gets_them_back(
    valkey: Valkey, kind: type[ConnectionPool], protocol: int
) -> None:
    valkey.empty()
    pool: Any = kind.from_url(
        valkey.url, max_connections=4, protocol=protocol, decode_responses=True
    )
    it = ValkeyStore(endpoint_of(pool), pool=pool, timeout=1.0)
    await it.open()
    await it.push([message()])
    other = await opened_other(valkey)
    waiting = asyncio.create_task(it.wait([QUEUE, "x"], 30.0))
    assert len(await take(it)) == 1
    assert await take(it) == []
    await other.push([message()])
    await asyncio.wait_for(waiting, 15)
    assert len(pool._in_use_connections) == 2
    await asyncio.to_thread(it.push_sync, [message()])
    await it.aclose()
    await other.aclose()
    assert len(pool._in_use_connections) == 0
    again = await pool.get_connection("PING")
    await again.send_command("PING")
    assert await again.read_response() in (b"PONG", "PONG")
    await pool.release(again)
    await pool.disconnect()


async def opened_other(valkey: Valkey) -> ValkeyStore:
    other = store(valkey.url)
    await other.open()
    return other


async def test_an_exhausted_pool_is_told_from_a_server_that_is_down(valkey: Valkey) -> None:
    pool: Any = ConnectionPool.from_url(valkey.url, max_connections=1)
    mine = await pool.get_connection("PING")
    with pytest.raises(StoreUnavailable, match=r"CONNECTION_POOL.*Too many connections"):
        await ValkeyStore(endpoint_of(pool), pool=pool, timeout=0.3).open()
    await pool.release(mine)
    await pool.disconnect()


async def test_a_pool_that_leads_nowhere_shows_no_password() -> None:
    url = f"valkey://:hunter2@127.0.0.1:{free_port()}"
    pool = ConnectionPool.from_url(url)
    with pytest.raises(StoreUnavailable, match="CONNECTION_POOL") as caught:
        await ValkeyStore(endpoint_of(pool), pool=pool, timeout=0.3).open()
    assert "hunter2" not in f"{caught.value} {endpoint_of(pool)!r}"


# -- a fork


async def test_after_a_fork_nothing_inherited_is_used(valkey: Valkey) -> None:
    """The child's store is not open, its synchronous side is its own, and the parent's goes on."""
    valkey.empty()
    async with opened(valkey.url) as it:
        await it.push([message()])
        it.push_sync([message()])  # on the loop's own thread: the blocking connection
        pid = _fork(it)
        for _ in range(50):
            await it.push([message()])
            it.push_sync([message()])
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert (await it.stats([QUEUE]))[QUEUE].ready == 2 + 100 + 50


def _fork(it: ValkeyStore) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests
        pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.alarm(20)
        for _ in range(50):
            it.push_sync([message()])
        try:
            it.extend([], lease=1.0)
        except StoreUnavailable:
            status = 0
    finally:
        os._exit(status)


# -- threads and the loop


async def test_pushes_of_threads_travel_with_the_loops(valkey: Valkey) -> None:
    valkey.empty()
    others = {each["id"] for each in clients(valkey)}  # earlier tests' stores, not yet collected
    async with opened(valkey.url) as it:
        before = valkey.ask("INFO", "commandstats")["cmdstat_evalsha"]["calls"]
        threads = [asyncio.to_thread(it.push_sync, [message()]) for _ in range(100)]
        receipts = await asyncio.gather(*threads)
        assert all(receipt.stored for [receipt] in receipts)
        calls = valkey.ask("INFO", "commandstats")["cmdstat_evalsha"]["calls"] - before
        assert calls < 100
        ours = [each for each in clients(valkey) if each["id"] not in others]
        assert len(ours) <= 2  # a thread the loop kept waiting goes its own way


async def test_a_blocked_loop_does_not_stop_a_thread_from_pushing(valkey: Valkey) -> None:
    valkey.empty()
    async with opened(valkey.url) as it:
        stored: list[bool] = []
        thread = threading.Thread(target=lambda: stored.append(it.push_sync([message()])[0].stored))
        thread.start()
        deadline = time.monotonic() + 20
        while not stored and time.monotonic() < deadline:
            time.sleep(0.01)  # noqa: ASYNC251 - the loop is blocked on purpose
        assert stored == [True]
        thread.join()
    assert valkey.ask("ZCARD", "vt:{default}:ready") == 1
