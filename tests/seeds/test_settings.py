"""The samples of settings: a task enqueued and run under them. Ports are the tests' servers'."""

import os
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings

from tests.django.conftest import EACH_DATABASE, Change
from tests.django.helpers import run
from tests.seeds import world
from tests.seeds.samples import sample
from tests.seeds.world import SEEN
from vtasks_asgi.conf import prune_installed_apps


def works() -> bool:
    world.myapp.process_user.enqueue(1)
    async_to_sync(world.myapp.fetch_data.aenqueue)(2)
    run(2)
    return sorted(SEEN) == [1, 2]


def played(name: str, url: str = "", **names: Any) -> dict[str, Any]:
    text = sample(name).replace("valkey://localhost:6379/0", url)
    exec(compile(text, name, "exec"), names)
    return names


@EACH_DATABASE
def test_a_database(change: Change) -> None:
    made = played("readme/postgres")
    kept = [app for app in settings.INSTALLED_APPS if app.startswith("django.")]
    change(INSTALLED_APPS=[*kept, *made["INSTALLED_APPS"]], TASKS=made["TASKS"])
    assert works()


@pytest.mark.server
@pytest.mark.parametrize("name", ["readme/valkey", "readme/shared-pool"])
def test_valkey(name: str, valkey: Any, change: Change) -> None:
    valkey.empty()
    made = played(name, valkey.url)
    assert made["INSTALLED_APPS"] == ["vtasks_asgi"]
    change(TASKS=made["TASKS"])
    assert works()


@pytest.mark.parametrize("worker", ["true", "false"])
def test_a_worker_of_its_own(worker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes and what stays is in ``tests/django/test_prune.py``."""
    monkeypatch.setenv("VTASKS_IS_WORKER", worker)
    apps = ["django.contrib.admin", "django.contrib.auth", "vtasks_asgi"]
    names: dict[str, Any] = {
        "os": os,
        "prune_installed_apps": prune_installed_apps,
        "ROOT_URLCONF": "site.urls",
    }
    made = played("readme/prune", INSTALLED_APPS=apps, **names)
    pruned = worker == "true"
    assert made["INSTALLED_APPS"] == (apps[1:] if pruned else apps)
    assert made["ROOT_URLCONF"] == ("vtasks_asgi.empty_urls" if pruned else "site.urls")
