"""BROKER_URL → where the server is and how to talk to it. No password shows in repr or errors."""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379
MAX_PORT = 65535

EXAMPLES = (
    "valkey://host:6379/0, valkeys://host:6379/0 (TLS), unix:///run/valkey.sock,"
    " valkey+sentinel://host1:26379,host2:26379/service/0 or valkey+cluster://host1:6379,host2:6379"
)

_SCHEME = re.compile(r"(valkey|redis)(s?)(?:\+(sentinel|cluster))?", re.ASCII)
_HOST = re.compile(r"(\[[^\[\]]+\]|[^\[\]:]+)(?::([0-9]+))?", re.ASCII)
_TLS_OPTIONS = {
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
}
_OPTIONS = {"db", "username", "password", "sentinel_username", "sentinel_password"}


class Kind(StrEnum):
    """How the server that has a queue is found."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class Address(NamedTuple):
    """A host and port, or with ``port`` 0 the path of a Unix socket."""

    host: str
    port: int

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """A user name, None for the default user, and a password."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return self.password is not None


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server's certificate is checked, and which one is shown to it. Paths are of files."""

    verify: bool = True
    check_hostname: bool = True
    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None

    def context(self) -> ssl.SSLContext:
        """For one connection.

        Raises:
            OSError: a file cannot be read.
        """
        context = ssl.create_default_context(cafile=self.ca_certs)
        context.check_hostname = self.verify and self.check_hostname
        context.verify_mode = ssl.CERT_REQUIRED if self.verify else ssl.CERT_NONE
        if self.certfile:
            context.load_cert_chain(self.certfile, self.keyfile)
        return context


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a store's data is. ``addresses`` are the server, the sentinels, or some of the nodes.

    ``str`` of it is fit for logs.
    """

    kind: Kind
    addresses: tuple[Address, ...]
    db: int = 0
    login: Login = Login()
    tls: Tls | None = None
    service: str | None = None
    sentinel_login: Login = Login()

    def __str__(self) -> str:
        hosts = ",".join(map(str, self.addresses))
        if self.kind is Kind.CLUSTER:
            return f"the cluster of {hosts}"
        if self.kind is Kind.SENTINEL:
            return f"{self.service}/{self.db} by the sentinels {hosts}"
        return f"{hosts}/{self.db}"

    def mask(self, text: str) -> str:
        """The text without any password in it."""
        for login in (self.login, self.sentinel_login):
            if login.password:
                text = text.replace(login.password, "***")
        return text


def parse(url: str, *, insecure: bool = False) -> Endpoint:
    """Read a URL. ``insecure`` permits ``ssl_cert_reqs=none``.

    Raises:
        ValueError: naming what is wrong, and never a password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ValueError(f"is no URL; write for example {EXAMPLES}")
    rest, _, query = rest.partition("?")
    options = _options(query)
    if scheme == "unix":
        return _unix(rest, options)
    match = _SCHEME.fullmatch(scheme)
    if match is None:
        raise ValueError(f"has an unknown scheme; write for example {EXAMPLES}")
    kind = Kind(match[3] or "single")
    authority, _, path = rest.partition("/")
    userinfo, _, hosts = authority.rpartition("@")
    port = DEFAULT_SENTINEL_PORT if kind is Kind.SENTINEL else DEFAULT_PORT
    addresses = tuple(_address(host, port) for host in hosts.split(","))
    if kind is Kind.SINGLE and len(addresses) > 1:
        raise ValueError(
            "names several hosts; several are for sentinels (valkey+sentinel://) or a cluster"
            " (valkey+cluster://)"
        )
    service, path = _service(path) if kind is Kind.SENTINEL else (None, path)
    db = _db(options.get("db", path))
    if kind is Kind.CLUSTER and db:
        raise ValueError("names a database; a cluster has only database 0, so leave it out")
    if not match[2]:
        _refuse_tls(options)
    return Endpoint(
        kind,
        addresses,
        db,
        _login(userinfo, options),
        _tls(options, insecure) if match[2] else None,
        service,
        Login(options.get("sentinel_username"), options.get("sentinel_password")),
    )


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS | _TLS_OPTIONS:
            known = ", ".join(sorted(_OPTIONS | _TLS_OPTIONS))
            raise ValueError(f"has the unknown option {name!r}; known are {known}")
    return options


def _unix(rest: str, options: Mapping[str, str]) -> Endpoint:
    userinfo, slash, path = rest.partition("/")
    if not slash or (userinfo and not userinfo.endswith("@")):
        raise ValueError("needs the path of a socket; write unix:///run/valkey.sock?db=0")
    _refuse_tls(options)
    db, login = _db(options.get("db", "")), _login(userinfo.removesuffix("@"), options)
    return Endpoint(Kind.SINGLE, (Address("/" + unquote(path), 0),), db, login)


def _address(text: str, default: int) -> Address:
    match = _HOST.fullmatch(text)
    if match is None or not int(match[2] or default) <= MAX_PORT:
        raise ValueError(f"has a host that is no host or host:port; write for example {EXAMPLES}")
    return Address(unquote(match[1]).strip("[]"), int(match[2] or default))


def _service(path: str) -> tuple[str, str]:
    service, _, db = path.partition("/")
    if not service:
        raise ValueError(
            "needs the name of the service: valkey+sentinel://host1:26379,host2:26379/service/0"
        )
    return unquote(service), db


def _db(text: str) -> int:
    text = text.strip("/")
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError("has a database that is no number; write for example valkey://host:6379/0")
    return int(text or 0)


def _login(userinfo: str, options: Mapping[str, str]) -> Login:
    user, separator, password = userinfo.partition(":")
    return Login(
        unquote(user) or options.get("username"),
        unquote(password) if separator else options.get("password"),
    )


def _refuse_tls(options: Mapping[str, str]) -> None:
    if wrong := sorted(_TLS_OPTIONS & options.keys()):
        raise ValueError(f"has {wrong[0]} but no TLS; use the scheme valkeys://")


def _tls(options: Mapping[str, str], insecure: bool) -> Tls:
    verify = options.get("ssl_cert_reqs", "required")
    if verify not in ("required", "none"):
        raise ValueError("has ssl_cert_reqs other than 'required' or 'none'")
    if verify == "none" and not insecure:
        raise ValueError(
            "has ssl_cert_reqs=none, which lets anybody pose as the server, and is for DEBUG only;"
            " name the authority with ssl_ca_certs instead"
        )
    hostname = options.get("ssl_check_hostname", "true").lower()
    if hostname not in ("true", "false"):
        raise ValueError("has ssl_check_hostname other than 'true' or 'false'")
    return Tls(
        verify == "required",
        hostname == "true",
        options.get("ssl_ca_certs"),
        options.get("ssl_certfile"),
        options.get("ssl_keyfile"),
    )
