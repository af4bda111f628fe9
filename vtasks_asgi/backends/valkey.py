"""Valkey, or Redis 7, as a task store."""

import importlib.util
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.conf import cache_settings, debug, options
from vtasks_asgi.store.base import FullStore
from vtasks_asgi.store.valkey.url import Endpoint, parse

#: Seconds a call to the server may take, unless ``OPTIONS["TIMEOUT"]`` says otherwise.
DEFAULT_TIMEOUT = 3.0

_SOURCES = ("BROKER_URL", "CONNECTION_POOL", "CACHE")


class ValkeyTaskBackend(VTasksBackend):
    """``OPTIONS`` say where the server is, in one of three ways.

    ``BROKER_URL``; or ``CONNECTION_POOL``, a ``valkey.asyncio.ConnectionPool`` whose connections
    serve what is awaited, while ``BROKER_URL``, if given as well, serves synchronous code; or
    ``CACHE``, the alias of a Django cache on the same server. ``TIMEOUT`` bounds each call to it.
    """

    option_names = VTasksBackend.option_names | {*_SOURCES, "TIMEOUT"}

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self._timeout = float(self._number("TIMEOUT", DEFAULT_TIMEOUT, least=0.05))
        self._pool: Any = self.options.get("CONNECTION_POOL")
        self._endpoint: Endpoint | None = None
        try:
            self._endpoint = self._locate()
        except ValueError as error:
            self._wrong.append(f"TASKS[{alias!r}]['OPTIONS']{error}")

    def make_store(self) -> FullStore:
        """A store on that server.

        Raises:
            ConfigurationError: wrong options, or the driver is not installed.
        """
        self.require_good_options()
        assert self._endpoint is not None
        from vtasks_asgi.store.valkey.store import ValkeyStore

        settings = options()
        return ValkeyStore(
            self._endpoint,
            prefix=settings.valkey_prefix,
            timeout=self._timeout,
            dead_letter_cap=settings.dlq_cap,
            pool=self._pool,
        )

    def _locate(self) -> Endpoint:
        given = [name for name in _SOURCES if self.options.get(name)]
        if missing := [it for it in ("valkey", "libvalkey") if not importlib.util.find_spec(it)]:
            raise ValueError(
                f" cannot be used: {missing[0]} is not installed; install 'vtasks-asgi[valkey]'"
            )
        if not given:
            raise ValueError("['BROKER_URL'] is missing; write for example valkey://host:6379/0")
        if "CACHE" in given and len(given) > 1:
            raise ValueError(f"['CACHE'] and ['{given[0]}'] contradict each other; keep one")
        led_to = self._of_pool() if "CONNECTION_POOL" in given else None
        if "BROKER_URL" in given:
            return self._parsed("BROKER_URL", self.options["BROKER_URL"])
        return led_to or self._parsed("CACHE", _cache_url(self.options["CACHE"]))

    def _parsed(self, name: str, url: Any) -> Endpoint:
        if not isinstance(url, str):
            raise ValueError(f"[{name!r}] must be a string")
        try:
            return parse(url, insecure=debug())
        except ValueError as error:
            raise ValueError(f"[{name!r}] {error}") from None

    def _of_pool(self) -> Endpoint:
        from vtasks_asgi.store.valkey.pool import endpoint_of

        try:
            return endpoint_of(self._pool)
        except ValueError as error:
            raise ValueError(f"['CONNECTION_POOL'] {error}") from None


def _cache_url(alias: Any) -> str:
    """The URL of a Django cache's primary server, with what its OPTIONS add."""
    settings = cache_settings(alias) if isinstance(alias, str) else None
    if settings is None:
        raise ValueError(f"['CACHE'] is {alias!r}, which is not in CACHES")
    location = settings.get("LOCATION")
    if isinstance(location, str):
        location = location.replace(";", ",").split(",")
    if not location or "://" not in str(location[0]):
        raise ValueError(f"['CACHE'] is {alias!r}, whose LOCATION is not the URL of a server")
    url = str(location[0])
    known = ("db", "username", "password")
    told = settings.get("OPTIONS", {})
    added = "&".join(f"{name}={quote(str(told[name]))}" for name in known if name in told)
    return f"{url}{'&' if '?' in url else '?'}{added}" if added else url
