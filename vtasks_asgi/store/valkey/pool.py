"""Connections taken from the application's ``valkey.asyncio.ConnectionPool``, and given back."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from valkey.asyncio import ConnectionPool, SSLConnection
from valkey.asyncio.sentinel import SentinelConnectionPool
from valkey.exceptions import ValkeyError

from vtasks_asgi.store.valkey.dial import Hear
from vtasks_asgi.store.valkey.errors import NotSent
from vtasks_asgi.store.valkey.link import Link
from vtasks_asgi.store.valkey.url import (
    DEFAULT_PORT,
    DEFAULT_SENTINEL_PORT,
    Address,
    Endpoint,
    Kind,
    Login,
    Tls,
)
from vtasks_asgi.store.valkey.wire import pack

#: In place of an address: the pool knows where it leads.
POOL = Endpoint(Kind.SINGLE, (Address("CONNECTION_POOL", 0),))


class PoolDialer:
    """Each link is one of the pool's connections, in use until the link ends.

    ``endpoint`` is where the pool leads; its passwords are kept out of messages.
    """

    def __init__(self, pool: ConnectionPool, endpoint: Endpoint, timeout: float) -> None:
        self._pool: Any = pool  # its methods are not typed
        self._endpoint = endpoint
        self._timeout = timeout
        self._giving: set[asyncio.Task[None]] = set()

    async def dial(self, address: Address, *, hear: Hear | None = None) -> Link:
        link = Link("the pool's server", self._timeout, hear=hear)
        connection = await self._take()
        link.when_ended = partial(self._give_back, connection)
        # The pool keeps its connection object; only who reads from the socket changes.
        transport = connection._writer.transport
        transport.set_protocol(link)
        link.connection_made(transport)
        try:
            if str(connection.protocol) != "2":
                await link.send(pack("HELLO", 2))
        except BaseException:
            link.drop("is no longer needed")
            raise
        return link

    async def _take(self) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._pool.get_connection("PING")
        except TimeoutError:
            raise NotSent(
                f"CONNECTION_POOL gave no connection within {self._timeout:g} s"
            ) from None
        except (ValkeyError, OSError) as error:
            text = self._endpoint.mask(str(error))
            raise NotSent(f"CONNECTION_POOL gave no connection: {text}") from error

    def _give_back(self, connection: Any) -> None:
        giving = asyncio.get_running_loop().create_task(self._returned(connection))
        self._giving.add(giving)  # the loop itself holds tasks weakly only
        giving.add_done_callback(self._giving.discard)

    async def _returned(self, connection: Any) -> None:
        """Closed: the pool connects it anew for whoever gets it next."""
        await connection.disconnect(nowait=True)
        await self._pool.release(connection)

    async def consult(self, address: Address, payload: bytes) -> Any:
        raise NotImplementedError("the pool itself asks the sentinels")

    async def aclose(self) -> None:
        while self._giving:
            await asyncio.wait(self._giving)


def endpoint_of(pool: object) -> Endpoint:
    """Where a pool leads, for connections it does not make itself.

    Raises:
        ValueError: that cannot be told.
    """
    if not isinstance(pool, ConnectionPool):
        raise ValueError("must be a valkey.asyncio.ConnectionPool")
    told: Mapping[str, Any] = pool.connection_kwargs
    if told.get("credential_provider") is not None:
        raise ValueError("has a credential_provider; name the server in BROKER_URL as well")
    login = Login(told.get("username"), told.get("password"))
    db = int(told.get("db") or 0)
    tls = _tls(told) if issubclass(pool.connection_class, SSLConnection) else None
    if isinstance(pool, SentinelConnectionPool):
        asked = [it.connection_pool.connection_kwargs for it in pool.sentinel_manager.sentinels]
        addresses = tuple(_address(it, DEFAULT_SENTINEL_PORT) for it in asked)
        sentinel_login = Login(asked[0].get("username"), asked[0].get("password"))
        kind, service = Kind.SENTINEL, str(pool.service_name)
        return Endpoint(kind, addresses, db, login, tls, service, sentinel_login)
    return Endpoint(Kind.SINGLE, (_address(told, DEFAULT_PORT),), db, login, tls)


def _address(told: Mapping[str, Any], port: int) -> Address:
    if path := told.get("path"):
        return Address(str(path), 0)
    return Address(str(told.get("host", "localhost")), int(told.get("port") or port))


def _tls(told: Mapping[str, Any]) -> Tls:
    return Tls(
        told.get("ssl_cert_reqs", "required") not in (None, "none"),
        bool(told.get("ssl_check_hostname", False)),
        told.get("ssl_ca_certs"),
        told.get("ssl_certfile"),
        told.get("ssl_keyfile"),
    )
