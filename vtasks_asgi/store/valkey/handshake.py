"""What is said first on every connection. Pure."""

from collections.abc import Sequence
from typing import Any

from vtasks_asgi.core.errors import StoreError
from vtasks_asgi.store.valkey.errors import ReplyError, mapped
from vtasks_asgi.store.valkey.url import Endpoint, Login
from vtasks_asgi.store.valkey.wire import pack

CLIENT_NAME = "vtasks"


def greeting(endpoint: Endpoint) -> list[bytes]:
    """To a server that has data."""
    words = _auth(endpoint.login)
    if endpoint.db:
        words.append(pack("SELECT", endpoint.db))
    words.append(pack("CLIENT", "SETNAME", CLIENT_NAME))
    return words


def sentinel_greeting(endpoint: Endpoint) -> list[bytes]:
    """To a sentinel."""
    return _auth(endpoint.sentinel_login)


def _auth(login: Login) -> list[bytes]:
    if login.password is None:
        return []
    words = [login.username] if login.username else []
    return [pack("AUTH", *words, login.password)]


def check(endpoint: Endpoint, greeting: Sequence[bytes], answers: Sequence[Any]) -> None:
    """Raise StoreError if the server did not agree. Its name for us it may refuse."""
    for said, answer in zip(greeting, answers, strict=True):
        if isinstance(answer, ReplyError) and b"SETNAME" not in said:
            raise _masked(endpoint, answer)


def _masked(endpoint: Endpoint, error: ReplyError) -> StoreError:
    # A server that does not know AUTH repeats its arguments.
    return mapped(ReplyError(endpoint.mask(str(error))))
