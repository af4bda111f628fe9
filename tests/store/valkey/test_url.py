"""BROKER_URL: every kind, what is refused and why, and passwords that never show."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtasks_asgi.store.valkey.url import Address, Endpoint, Kind, Login, Tls, parse

SINGLE, SENTINEL, CLUSTER = Kind.SINGLE, Kind.SENTINEL, Kind.CLUSTER

GOOD: list[tuple[str, Endpoint]] = [
    ("valkey://host", Endpoint(SINGLE, (Address("host", 6379),))),
    ("redis://host:1/2", Endpoint(SINGLE, (Address("host", 1),), 2)),
    ("valkey://host/?db=3", Endpoint(SINGLE, (Address("host", 6379),), 3)),
    ("valkey://[::1]:7", Endpoint(SINGLE, (Address("::1", 7),))),
    ("valkey://:p%40s@h", Endpoint(SINGLE, (Address("h", 6379),), 0, Login(None, "p@s"))),
    ("valkey://u:p@h", Endpoint(SINGLE, (Address("h", 6379),), 0, Login("u", "p"))),
    ("valkey://h?password=p", Endpoint(SINGLE, (Address("h", 6379),), 0, Login(None, "p"))),
    ("valkeys://h", Endpoint(SINGLE, (Address("h", 6379),), 0, Login(), Tls())),
    (
        "rediss://h?ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
        Endpoint(SINGLE, (Address("h", 6379),), 0, Login(), Tls(True, False, "/ca.pem")),
    ),
    ("unix:///run/v.sock", Endpoint(SINGLE, (Address("/run/v.sock", 0),))),
    (
        "unix://u:p@/run/v.sock?db=4",
        Endpoint(SINGLE, (Address("/run/v.sock", 0),), 4, Login("u", "p")),
    ),
    (
        "valkey+sentinel://:p@a:1,b/main/5?sentinel_password=s",
        Endpoint(
            SENTINEL,
            (Address("a", 1), Address("b", 26379)),
            5,
            Login(None, "p"),
            None,
            "main",
            Login(None, "s"),
        ),
    ),
    (
        "valkeys+cluster://u:p@a:1,b:2",
        Endpoint(CLUSTER, (Address("a", 1), Address("b", 2)), 0, Login("u", "p"), Tls()),
    ),
]

WRONG: list[tuple[str, str]] = [
    ("", "is no URL"),
    ("localhost:6379", "is no URL"),
    ("http://host", "unknown scheme"),
    ("valkeyss://host", "unknown scheme"),
    ("valkey+sentinels://host/x", "unknown scheme"),
    ("valkey://", "a host that is no host"),
    ("valkey://a:b:c", "a host that is no host"),
    ("valkey://host:99999", "a host that is no host"),
    ("valkey://host:port", "a host that is no host"),
    ("valkey://a,b", r"several hosts.*valkey\+sentinel://"),
    ("valkey://host/first", "database that is no number"),
    ("valkey://host?dbb=1", "unknown option 'dbb'; known are db, "),
    ("valkey://host?ssl_ca_certs=/x", "no TLS; use the scheme valkeys://"),
    ("valkeys://host?ssl_cert_reqs=none", "DEBUG only; name the authority with ssl_ca_certs"),
    ("valkeys://host?ssl_cert_reqs=maybe", "'required' or 'none'"),
    ("valkeys://host?ssl_check_hostname=maybe", "'true' or 'false'"),
    ("valkey+sentinel://host", "needs the name of the service"),
    ("valkey+cluster://host/1", "only database 0"),
    ("unix://relative/path", "needs the path of a socket"),
    ("unix:", "is no URL"),
]


@pytest.mark.parametrize(("url", "endpoint"), GOOD)
def test_good_urls(url: str, endpoint: Endpoint) -> None:
    assert parse(url) == endpoint


@pytest.mark.parametrize(("url", "words"), WRONG)
def test_wrong_urls_say_what_to_write(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(url)


def test_an_unverified_certificate_is_for_debug() -> None:
    tls = parse("valkeys://host?ssl_cert_reqs=none", insecure=True).tls
    assert tls is not None
    assert not tls.verify
    context = tls.context()
    assert (context.check_hostname, int(context.verify_mode)) == (False, 0)


def test_a_certificate_is_verified_with_its_host_name_by_default() -> None:
    context = Tls().context()
    assert (context.check_hostname, int(context.verify_mode)) == (True, 2)


URLS = [
    "valkey://user:PASS@host:1/0",
    "valkeys://:PASS@host",
    "unix:///x?password=PASS",
    "valkey+sentinel://:PASS@a,b/main?sentinel_password=PASS",
    "valkey+cluster://user:PASS@a,b",
]


@pytest.mark.parametrize("url", URLS)
def test_no_password_shows_in_what_is_printed(url: str) -> None:
    endpoint: Any = parse(url.replace("PASS", "hunter2"))
    assert "hunter2" not in f"{endpoint} {endpoint!r} {endpoint.mask('so: hunter2')}"


SECRET = [
    "http://user:hunter2@host",
    "user:hunter2@host:6379",
    "valkey://user:hunter2@host:port",
    "valkey://user:hunter2@a,b",
    "valkey://user:hunter2@host/first",
    "valkey://host:hunter2@",
    "valkey://host?passwordd=hunter2",
    "valkeys://:hunter2@host?ssl_cert_reqs=none",
    "valkey+sentinel://:hunter2@host",
    "unix://:hunter2@relative",
]


@pytest.mark.parametrize("url", SECRET)
def test_no_password_shows_in_errors(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        parse(url)
    assert "hunter2" not in str(caught.value)


@given(
    st.text(max_size=60)
    | st.from_regex(r"(valkey|unix)(\+cluster|\+sentinel)?://.*", fullmatch=True)
)
def test_any_text_is_a_good_url_or_a_value_error(url: str) -> None:
    try:
        parse(url)
    except ValueError as error:
        assert "\n" not in str(error)
