"""Short words for tests of the Valkey store on a server of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.services.valkey import Valkey
from vtasks_asgi.store.valkey.store import ValkeyStore
from vtasks_asgi.store.valkey.url import parse

#: Seconds, for tests that wait for it.
TIMEOUT = 1.0
#: For all others: a busy disk may keep the server for longer than a second.
PATIENT = 20.0


def store(url: str, *, timeout: float = PATIENT, **options: Any) -> ValkeyStore:
    return ValkeyStore(parse(url), timeout=timeout, **options)


@asynccontextmanager
async def opened(
    url: str, *, timeout: float = PATIENT, **options: Any
) -> AsyncIterator[ValkeyStore]:
    """A store, opened, and closed at the end."""
    it = store(url, timeout=timeout, **options)
    await it.open()
    try:
        yield it
    finally:
        await it.aclose()


def clients(server: Valkey) -> list[dict[str, str]]:
    """The connections of every store to the server."""
    with server.client() as client:
        listed: list[dict[str, str]] = client.client_list()
    return [it for it in listed if it["name"] == "vtasks"]
