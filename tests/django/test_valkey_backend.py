"""ValkeyTaskBackend: its options and what is wrong with them, and tasks through it."""

import asyncio
from typing import Any

import pytest
from django.core.cache import caches
from django.tasks import TaskResultStatus, task_backends
from valkey.asyncio import ConnectionPool
from valkey.credentials import UsernamePasswordCredentialProvider

from tests.django import sample
from tests.django.conftest import Change
from tests.django.helpers import done, embedded
from tests.django.test_checks import only, ours
from tests.processes import free_port
from tests.services.valkey import Valkey
from tests.store.valkey.opening import clients
from vtasks_asgi.assembly import assemble
from vtasks_asgi.exceptions import ConfigurationError, StoreUnavailable
from vtasks_asgi.store.valkey.store import ValkeyStore

BACKEND = "vtasks_asgi.backends.valkey.ValkeyTaskBackend"


def configure(change: Change, **options: Any) -> None:
    change(TASKS={"default": {"BACKEND": BACKEND, "OPTIONS": options}})


def store(change: Change, **options: Any) -> Any:
    """The store of a backend with these options."""
    configure(change, **options)
    backend: Any = task_backends["default"]
    made = backend.make_store()
    assert isinstance(made, ValkeyStore)
    return made


# -- options


def test_a_good_url_needs_no_server_to_be_checked(change: Change) -> None:
    configure(change, BROKER_URL=f"valkey://127.0.0.1:{free_port()}", RESULT_TTL=5)
    assert ours() == []


def test_what_is_configured_reaches_the_store(change: Change) -> None:
    change(VTASKS_VALKEY_PREFIX="shop", VTASKS_DLQ_CAP=7)
    it = store(change, BROKER_URL="valkeys://u:p@h:1/2", TIMEOUT=0.5)
    assert str(it._endpoint) == "h:1/2"
    assert (it._timeout, it._cap, it._pool) == (0.5, 7, None)
    assert it._names.queues == b"shop:queues"


def test_a_pool_tells_where_it_leads(change: Change) -> None:
    pool = ConnectionPool.from_url("valkeys://u:p@h:1/2?ssl_ca_certs=/ca.pem")
    it = store(change, CONNECTION_POOL=pool)
    assert it._pool is pool
    assert (str(it._endpoint), it._endpoint.login.password) == ("h:1/2", "p")
    assert it._endpoint.tls.ca_certs == "/ca.pem"
    with_url = store(change, CONNECTION_POOL=pool, BROKER_URL="valkey://other")
    assert (with_url._pool, str(with_url._endpoint)) == (pool, "other:6379/0")


@pytest.mark.parametrize(
    ("settings", "endpoint", "password"),
    [
        ({"LOCATION": "redis://u:p@h:1/2"}, "h:1/2", "p"),
        ({"LOCATION": ["redis://a:1", "redis://b:2"]}, "a:1/0", None),
        ({"LOCATION": "redis://a:1,redis://b:2"}, "a:1/0", None),
        ({"LOCATION": "redis://a", "OPTIONS": {"db": 3, "password": "p&="}}, "a:6379/3", "p&="),
    ],
)
def test_a_cache_tells_where_it_is(
    change: Change, settings: dict[str, Any], endpoint: str, password: str | None
) -> None:
    cache = {"BACKEND": "django.core.cache.backends.redis.RedisCache", **settings}
    change(CACHES={"default": cache})
    it = store(change, CACHE="default")
    assert (str(it._endpoint), it._endpoint.login.password) == (endpoint, password)
    assert caches is not None


POOL = ConnectionPool.from_url("valkey://h")
SECRETIVE = ConnectionPool(credential_provider=UsernamePasswordCredentialProvider("u", "p"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, r"\['BROKER_URL'\] is missing; write for example valkey://"),
        ({"BROKER_URL": "http://h"}, r"\['BROKER_URL'\] has an unknown scheme"),
        ({"BROKER_URL": 5}, r"\['BROKER_URL'\] must be a string"),
        ({"BROKER_URL": "valkeys://h?ssl_cert_reqs=none"}, "for DEBUG only"),
        ({"BROKER_URL": "valkey://h", "CACHE": "default"}, "contradict each other"),
        ({"CONNECTION_POOL": POOL, "CACHE": "default"}, "contradict each other"),
        ({"CONNECTION_POOL": "pool"}, r"\['CONNECTION_POOL'\] must be a valkey.asyncio"),
        ({"CONNECTION_POOL": SECRETIVE}, "name the server in BROKER_URL as well"),
        ({"CACHE": "other"}, "'other', which is not in CACHES"),
        ({"CACHE": "default"}, "whose LOCATION is not the URL of a server"),
        ({"BROKER_URL": "valkey://h", "TIMEOUT": 0}, r"\['TIMEOUT'\] must be a number"),
        ({"BROKER_URL": "valkey://h", "DATABASE": "x"}, "unknown key 'DATABASE'"),
    ],
    ids=str,
)
def test_wrong_options_are_named_with_the_fix(
    change: Change, options: dict[str, Any], words: str
) -> None:
    configure(change, **options)
    only("E005")
    with pytest.raises(ConfigurationError, match=words):
        assemble()


def test_an_unverified_certificate_is_for_debug(change: Change) -> None:
    change(DEBUG=True)
    it = store(change, BROKER_URL="valkeys://h?ssl_cert_reqs=none")
    assert not it._endpoint.tls.verify


def test_without_its_driver_the_extra_is_named(
    change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    configure(change, BROKER_URL="valkey://h")
    assert "install 'vtasks-asgi[valkey]'" in only("E005")


def test_no_password_shows_in_what_is_checked(change: Change) -> None:
    configure(change, BROKER_URL="valkey://u:hunter2@h:port")
    assert "hunter2" not in only("E005")


# -- tasks


def test_a_task_from_synchronous_code(change: Change, valkey: Valkey) -> None:
    valkey.empty()
    configure(change, BROKER_URL=valkey.url)
    result = sample.add.enqueue(1, 2)
    assert sample.add.get_result(result.id).status is TaskResultStatus.READY


def test_a_worker_works_it_off(change: Change, valkey: Valkey) -> None:
    valkey.empty()
    configure(change, BROKER_URL=valkey.url)
    result = done(sample.add.enqueue(1, 2))
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, 3)


async def test_a_request_uses_the_connections_of_the_worker_in_its_process(
    change: Change, valkey: Valkey
) -> None:
    valkey.empty()
    others = {each["id"] for each in clients(valkey)}  # of backends of earlier tests
    configure(change, BROKER_URL=valkey.url)
    async with embedded():
        one = await sample.add.aenqueue(1, 2)
        two = await asyncio.to_thread(sample.add.enqueue, 3, 4)
        assert len({each["id"] for each in clients(valkey)} - others) <= 3
    assert two.id != one.id


def test_a_server_that_is_down_is_said_in_time(change: Change) -> None:
    port = free_port()
    configure(change, BROKER_URL=f"valkey://127.0.0.1:{port}", TIMEOUT=0.5)
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port} cannot be reached"):
        sample.add.enqueue(1, 2)
