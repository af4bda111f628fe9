"""Embedded or not, and the wrapper's arguments."""

import sys
from typing import Any

import pytest

from tests.django.conftest import Change
from tests.django.helpers import arows
from tests.django.server import Inner, django, serving
from vtasks_asgi.asgi import get_worker_application
from vtasks_asgi.exceptions import ConfigurationError

pytestmark = pytest.mark.usefixtures("site")


async def test_not_embedded_only_the_pages_are_there(change: Change) -> None:
    change(VTASKS_EMBEDDED="off")
    async with serving(get_worker_application(django())) as server:
        assert (await server.request("/vtasks/health/ready")).body == b'{"status":"ok"}'
        assert (await server.request("/metrics")).status == 200
        assert (await server.request("/active")).body == b'{"active": false}'
        assert (await server.request("/enqueue")).status == 200
    assert (await arows())["messages"] == 1


@pytest.mark.parametrize(
    ("program", "embedded"),
    [
        ("manage.py", False),
        ("/srv/site/manage.py", False),
        ("/usr/bin/django-admin", False),
        ("/lib/python3.13/site-packages/django/__main__.py", False),
        ("/usr/bin/granian", True),
        ("/lib/python3.13/site-packages/granian/__main__.py", True),
        ("uvicorn", True),
        ("", True),
    ],
)
async def test_auto_is_off_in_management_commands(
    program: str,
    embedded: bool,
    change: Change,
    made: list[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change(VTASKS_EMBEDDED="auto")
    monkeypatch.setattr(sys, "argv", [program, "x"])
    async with serving(get_worker_application(Inner())):
        assert bool(made) is embedded


@pytest.mark.parametrize(
    ("argument", "setting", "embedded"),
    [("off", "on", False), (False, "on", False), ("on", "off", True), (True, "off", True)],
)
async def test_the_argument_wins_over_the_setting(
    argument: str | bool, setting: str, embedded: bool, change: Change, made: list[object]
) -> None:
    change(VTASKS_EMBEDDED=setting)
    async with serving(get_worker_application(Inner(), embedded=argument)):
        assert bool(made) is embedded


async def test_arguments_reach_the_runtime(made: list[object]) -> None:
    application = get_worker_application(
        Inner(), backend="default", queues=["default"], scheduler=False
    )
    async with serving(application):
        assert made == [{"backend": "default", "queues": ["default"], "scheduler": False}]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"embedded": "sometimes"}, "embedded is 'sometimes'; it must be 'auto', 'on' or 'off'"),
        ({"embedded": 5}, "embedded is 5"),
        ({"backend": "nowhere"}, "nowhere"),
        ({"metrics_path": "metrics"}, "VTASKS_METRICS_PATH is 'metrics'"),
        ({"health_path": "/metrics"}, "VTASKS_METRICS_PATH '/metrics' is also a health page"),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigurationError, match=error):
        get_worker_application(Inner(), **arguments)


def test_wrong_settings_are_refused(change: Change) -> None:
    change(VTASKS_LEASE=0)
    with pytest.raises(ConfigurationError, match="VTASKS_LEASE"):
        get_worker_application(Inner())


def test_a_backend_without_a_worker_is_refused(change: Change) -> None:
    change(TASKS={"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}})
    with pytest.raises(ConfigurationError, match="has no worker; use"):
        get_worker_application(Inner())
