"""A worker without what only web servers need: which apps go, and that settings may ask for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fresh_project import create, environment, python
from tests.seeds.samples import sample
from vtasks_asgi import empty_urls
from vtasks_asgi.conf import WEB_ONLY, prune_installed_apps

APPS = [
    "shop",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.sites",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "vtasks_asgi",
    "vtasks_asgi.db",
    "rest_framework",
    "debug_toolbar",
]

#: The sample of django-vtasks's documentation.
SAMPLE = f"""
import os
from vtasks_asgi.conf import prune_installed_apps

{sample("readme/prune")}"""


def test_what_serves_requests_goes_and_the_rest_stays_in_order() -> None:
    assert prune_installed_apps(APPS) == [
        "shop",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sites",
        "django.contrib.humanize",
        "django.contrib.postgres",
        "vtasks_asgi",
        "vtasks_asgi.db",
        "rest_framework",
    ]
    assert prune_installed_apps(tuple(APPS)) == prune_installed_apps(APPS)


@pytest.mark.parametrize(
    "app",
    [
        "django.contrib.admin.apps.SimpleAdminConfig",
        "django.contrib.sessions.apps.SessionsConfig",
        "unfold.contrib.filters",
    ],
)
def test_an_app_goes_under_any_of_its_names(app: str) -> None:
    assert prune_installed_apps([app, "shop"]) == ["shop"]


@pytest.mark.parametrize("app", ["django.contrib.admin_more", "shop.admin", "sessions", "silky"])
def test_names_that_are_only_alike_stay(app: str) -> None:
    assert prune_installed_apps([app]) == [app]


def test_what_a_project_needs_it_keeps() -> None:
    kept = prune_installed_apps(APPS, keep=["django.contrib.sessions"])
    assert "django.contrib.sessions" in kept
    assert "django.contrib.admin" not in kept
    config = "django.contrib.sessions.apps.SessionsConfig"
    assert prune_installed_apps([config], keep=["django.contrib.sessions"]) == [config]
    assert prune_installed_apps([config], keep=[config]) == [config]


def test_nothing_that_tasks_need_is_on_the_list() -> None:
    needed = {"django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sites"}
    assert not needed & set(WEB_ONLY)
    assert not [name for name in WEB_ONLY if name.startswith("vtasks_asgi")]


def test_there_are_no_urls() -> None:
    assert empty_urls.urlpatterns == []


def test_it_can_be_imported_while_settings_are_being_read(tmp_path: Path) -> None:
    apps = ["django.contrib.contenttypes", "django.contrib.sessions", "vtasks_asgi"]
    settings = f"SECRET_KEY = 'x'\nINSTALLED_APPS = {apps!r}\n{SAMPLE}"
    (tmp_path / "project_settings.py").write_text(settings)
    source = """if True:
        import django
        django.setup()
        from django.apps import apps
        from django.conf import settings
        from django.core.management import call_command
        call_command("check")
        print([app.name for app in apps.get_app_configs()], settings.ROOT_URLCONF)
    """
    env = environment(DJANGO_SETTINGS_MODULE="project_settings", VTASKS_IS_WORKER="true")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        cwd=tmp_path,
        env=env | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = "['django.contrib.contenttypes', 'vtasks_asgi'] vtasks_asgi.empty_urls\n"
    assert done.stdout.endswith(expected)


@pytest.mark.slow
def test_a_pruned_worker_of_the_template_is_sound(tmp_path: Path) -> None:
    project = create(tmp_path)
    with (project / "config" / "settings.py").open("a") as settings:
        settings.write(SAMPLE)
    env = environment(DEBUG="true", VTASKS_IS_WORKER="true")
    migrated = python("manage.py", "migrate", "-v0", cwd=project, env=environment(DEBUG="true"))
    assert migrated.returncode == 0, migrated.stderr
    checked = python("manage.py", "check", "--fail-level=WARNING", cwd=project, env=env)
    assert checked.returncode == 0, checked.stderr
    source = """if True:
        from django.contrib.auth.models import User
        from vtasks_asgi.testing import drain
        from website import tasks
        tasks.heartbeat.enqueue()
        print([result.status for result in drain(raise_errors=True)], User.objects.count())
        import sys
        print(sorted(name for name in ("django.contrib.admin", "website.views", "website.admin")
                     if name in sys.modules))
    """
    ran = python("manage.py", "shell", "-v0", "-c", source, cwd=project, env=env)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]"
    assert "SUCCESSFUL" in ran.stdout
