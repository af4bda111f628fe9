"""Each system check, triggered; and none for a good project."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.db import connection
from django.http import HttpResponse
from django.urls import path, re_path

from tests.django import sample
from tests.django.conftest import Change
from vtasks_asgi import registry

ROOT = Path(__file__).resolve().parents[2]
DATABASE = "vtasks_asgi.backends.database.DatabaseTaskBackend"


def view(request: Any) -> HttpResponse:
    return HttpResponse()


class Urls:
    """A URLconf in an attribute."""

    def __init__(self, *patterns: Any) -> None:
        self.urlpatterns = list(patterns)


def ours() -> list[CheckMessage]:
    return [m for m in run_checks() if str(m.id).startswith("vtasks_asgi.")]


def only(id: str) -> str:
    """The text of the one message there is."""
    [message] = ours()
    assert message.id == f"vtasks_asgi.{id}"
    return f"{message.msg} {message.hint or ''}"


def test_a_good_project_has_nothing_to_fix() -> None:
    assert ours() == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"VTASKS_CONCURRENCY": 0}, ["VTASKS_CONCURRENCY", "at least 1"]),
        ({"VTASKS_CONCURENCY": 1}, ["VTASKS_CONCURENCY", "did you mean VTASKS_CONCURRENCY"]),
        ({"VTASKS_METRICS_PATH": "/vtasks/health"}, ["VTASKS_METRICS_PATH", "another path"]),
        ({"VTASKS_METRICS_PATH": "/a b"}, ["VTASKS_METRICS_PATH"]),
        ({"VTASKS_HEALTH_TOKEN": "a b"}, ["VTASKS_HEALTH_TOKEN"]),
        ({"VTASKS_IMPORTS": ["no.such.module"]}, ["VTASKS_IMPORTS", "no.such.module"]),
        ({"VTASKS_TASK_CONTEXT": "no.such.hook"}, ["VTASKS_TASK_CONTEXT", "no.such.hook"]),
        ({"VTASKS_TASK_CONTEXT": "sys.path"}, ["VTASKS_TASK_CONTEXT", "cannot be called"]),
        ({"VTASKS_PROPAGATE": ["no.such.variable"]}, ["VTASKS_PROPAGATE", "no.such.variable"]),
        ({"VTASKS_PROPAGATE": ["sys.path"]}, ["VTASKS_PROPAGATE", "no ContextVar"]),
    ],
    ids=str,
)
def test_e001_settings(change: Change, settings: dict[str, Any], words: list[str]) -> None:
    registry._discovered.clear()
    change(**settings)
    text = only("E001")
    assert all(word in text for word in words)


def test_e001_one_each(change: Change) -> None:
    change(VTASKS_CONCURRENCY=0, VTASKS_LEASE=0, VTASKS_XYZZY=1)
    assert [message.id for message in ours()] == ["vtasks_asgi.E001"] * 3


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"task": "tests.django.sample.ad", "schedule": 60}, ["did you mean", "sample.add"]),
        ({"task": "a.b", "schedule": 60}, ["not a registered task", "VTASKS_IMPORTS"]),
        ({"task": "tests.django.sample.add"}, ["['schedule'] is missing"]),
        ({"task": "tests.django.sample.add", "schedule": "99 * * * *"}, ["['schedule']"]),
        (
            {"task": "tests.django.sample.add", "schedule": 60, "queue_name": "mial"},
            ["Queue 'mial'", "VTASKS_QUEUES"],
        ),
        ({"task": "tests.django.sample.add", "schedule": 60, "args": [b"x"]}, ["bytes"]),
        ({"task": "tests.django.sample.add", "schedule": 60, "prioritty": 5}, ["priority"]),
    ],
    ids=str,
)
def test_e002_schedule(change: Change, entry: dict[str, Any], words: list[str]) -> None:
    change(VTASKS_SCHEDULE={"nightly": entry})
    text = only("E002")
    assert "VTASKS_SCHEDULE['nightly']" in text
    assert all(word in text for word in words)


def test_e001_the_task_of_a_batch_queue(change: Change) -> None:
    batch = {"count": 10, "timeout": 1.0}
    change(VTASKS_BATCH_QUEUES={"b": batch | {"task": "tests.django.sample.ad"}, "c": batch})
    text = only("E001")
    assert "the batch queue 'b' has the task 'tests.django.sample.ad'" in text
    assert "did you mean 'tests.django.sample.add'" in text


@pytest.mark.parametrize(
    ("task", "why"),
    [("context_of", "takes a context"), ("waits_on_loop", "must take one argument")],
)
def test_e001_the_function_of_a_batch_queue(task: str, why: str, change: Change) -> None:
    batch = {"count": 10, "timeout": 1.0, "task": f"tests.django.sample.{task}"}
    change(VTASKS_BATCH_QUEUES={"b": batch})
    text = only("E001")
    assert f"'b' has the task 'tests.django.sample.{task}', but the function of" in text
    assert why in text


def test_e002_one_each(change: Change) -> None:
    bad = {"task": "a.b", "schedule": 60}
    good = {"task": sample.add.module_path, "schedule": 60, "args": [1]}
    change(VTASKS_SCHEDULE={"one": bad, "two": bad, "three": good, "four": {"task": "a.b"}})
    texts = sorted(str(message.msg) for message in ours())
    assert [message.id for message in ours()] == ["vtasks_asgi.E002"] * 3
    assert ["'four'" in texts[0], "'one'" in texts[1], "'two'" in texts[2]] == [True] * 3


def test_e003_tables(change: Change) -> None:
    change(INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "vtasks_asgi"])
    text = only("E003")
    assert "'vtasks_asgi.db'" in text
    assert "migrate" in text


def test_e004_no_such_database(change: Change) -> None:
    change(TASKS={"default": {"BACKEND": DATABASE, "OPTIONS": {"DATABASE": "nowhere"}}})
    assert "'nowhere', which is not in DATABASES" in only("E004")


def test_e004_no_store_for_its_engine(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "oracle")
    text = only("E004")
    assert "oracle" in text
    assert "SQLite" in text


def test_e005_unknown_backend(change: Change) -> None:
    change(VTASKS_BACKEND="nowhere")
    assert "nowhere" in only("E005")


def test_e005_options_of_the_backend(change: Change) -> None:
    change(TASKS={"default": {"BACKEND": DATABASE, "OPTIONS": {"RESULT_TLT": 1}}})
    text = only("E005")
    assert "RESULT_TLT" in text
    assert "RESULT_TTL" in text


def test_e005_queues_that_contradict(change: Change) -> None:
    change(
        TASKS={"default": {"BACKEND": DATABASE, "QUEUES": ["default"]}},
        VTASKS_QUEUES=["default", "mail"],
    )
    text = only("E005")
    assert "'mail'" in text
    assert "QUEUES" in text


def test_other_backends_are_none_of_our_business(change: Change) -> None:
    change(
        TASKS={"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}},
        VTASKS_SCHEDULE={"x": {"task": "a.b", "schedule": 5}},
    )
    assert ours() == []


def test_w001_settings_of_the_ancestor(change: Change) -> None:
    change(VTASKS_SHUTDOWN_CANCEL_GRACE=5)
    assert "VTASKS_SHUTDOWN_CANCEL_GRACE has no effect" in only("W001")


@pytest.mark.parametrize(
    ("patterns", "setting", "route"),
    [
        ([path("metrics", view)], "VTASKS_METRICS_PATH", "metrics"),
        ([path("vtasks/health/live", view)], "VTASKS_HEALTH_PATH", "vtasks/health/live"),
        ([re_path(r"^vtasks/health$", view)], "VTASKS_HEALTH_PATH", "vtasks/health"),
        ([path("<str:page>", view)], "VTASKS_METRICS_PATH", "page"),
    ],
    ids=["metrics", "live", "regex", "converter"],
)
def test_w002_shadowed_routes(
    change: Change, patterns: list[Any], setting: str, route: str
) -> None:
    change(ROOT_URLCONF=Urls(*patterns))
    text = only("W002")
    assert setting in text
    assert route in text


def test_w002_is_silenced_by_another_path(change: Change) -> None:
    change(ROOT_URLCONF=Urls(path("metrics", view)), VTASKS_METRICS_PATH="/internal/metrics")
    assert ours() == []


def test_w002_is_silenced_by_none(change: Change) -> None:
    change(ROOT_URLCONF=Urls(path("metrics", view)), VTASKS_METRICS_PATH=None)
    assert ours() == []


def test_a_route_that_catches_everything_is_not_shadowed_in_particular(change: Change) -> None:
    change(ROOT_URLCONF=Urls(re_path(r"^.*$", view)))
    assert ours() == []


@pytest.mark.parametrize(
    ("wrong", "id", "words"),
    [
        ("VTASKS_LEASE = 0", "E001", "VTASKS_LEASE must be a number of seconds"),
        ("VTASKS_QUEUES = []", "E001", "VTASKS_QUEUES must name at least one queue"),
        ("TASKS['default']['OPTIONS'] = {'RESULT_TLT': 1}", "E005", "unknown key 'RESULT_TLT'"),
        ("TASKS['default']['OPTIONS'] = {'MAX_PAYLOAD': 1}", "E005", "at least 1024"),
    ],
    ids=str,
)
@pytest.mark.slow
def test_a_project_whose_apps_have_tasks_is_told_too(
    wrong: str, id: str, words: str, tmp_path: Path
) -> None:
    """Importing a task makes a backend, long before the checks run."""
    (tmp_path / "wrong_settings.py").write_text(f"from tests.settings import *\n{wrong}\n")
    code = (
        "import django; django.setup(); import tests.django.sample;"
        " from django.core.management import execute_from_command_line as execute;"
        " execute(['manage.py', 'check'])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "wrong_settings",
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert f"(vtasks_asgi.{id})" in told.stderr
    assert words in told.stderr
    assert "Traceback" not in told.stderr


def test_models_and_migrations_agree(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("makemigrations", check=True, dry_run=True)
    assert "No changes detected" in capsys.readouterr().out
