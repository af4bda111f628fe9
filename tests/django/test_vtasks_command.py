"""``manage.py vtasks``: what operators see and do, on every store; errors and exit codes."""

import json
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.tasks import TaskResultStatus
from django.utils import timezone

from tests.django import sample
from tests.django.conftest import Change
from tests.django.everywhere import BACKENDS, each_backend
from tests.django.helpers import run
from vtasks_asgi.management.commands.vtasks import EXIT_NOT_ALL

__all__ = ["each_backend"]

NOTE = "tests.django.sample.note"
ADD = "tests.django.sample.add"
SCHEDULE = {
    "nightly": {"task": NOTE, "schedule": "0 3 * * *", "args": ["x"], "queue_name": "mail"},
    "often": {"task": NOTE, "schedule": 60, "args": ["y"]},
}


@pytest.fixture(autouse=True)
def queues(each_backend: object, change: Change) -> None:
    """Each test on each kind of store."""
    change(VTASKS_QUEUES=["default", "mail"], VTASKS_SCHEDULE=SCHEDULE, TIME_ZONE="Europe/Berlin")


def vtasks(*arguments: str) -> str:
    """Run the command; what it wrote."""
    stdout = StringIO()
    call_command("vtasks", *arguments, stdout=stdout)
    return stdout.getvalue()


def shown(*arguments: str) -> Any:
    return json.loads(vtasks(*arguments, "--format", "json"))


def fails(*arguments: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        vtasks(*arguments)
    return caught.value


def test_cancel() -> None:
    first, second = sample.note.enqueue(1), sample.note.enqueue(2)
    other = sample.note.enqueue(3)
    assert vtasks("cancel", first.id, second.id) == (
        f"{first.id}: cancelled before it began\n{second.id}: cancelled before it began\n"
    )
    run(1)
    assert sample.SEEN == [3]
    first.refresh()
    assert first.status is TaskResultStatus.FAILED
    stdout = StringIO()
    with pytest.raises(CommandError, match="2 of 2 could not be cancelled") as caught:
        call_command("vtasks", "cancel", other.id, "unknown", stdout=stdout)
    assert caught.value.returncode == EXIT_NOT_ALL
    assert stdout.getvalue() == (
        f"{other.id}: not cancelled: it has ended\nunknown: not cancelled: there is no such task\n"
    )


def test_pause_and_resume_a_queue() -> None:
    sample.note.enqueue(1)
    sample.note.using(queue_name="mail").enqueue(2)
    told = vtasks("pause", "--queue", "default")
    assert told == "queue 'default' is paused until it is resumed\n"
    run(1)
    assert sample.SEEN == [2]
    assert vtasks("resume", "--queue", "default") == "queue 'default' goes on\n"
    assert vtasks("resume", "--queue", "default") == "queue 'default' was not paused\n"
    run(1)
    assert sample.SEEN == [2, 1]


def test_pause_and_resume_a_task() -> None:
    added = sample.add.enqueue(1)
    vtasks("pause", "--task", ADD)
    sample.note.enqueue("other")
    run(1)
    assert sample.SEEN == ["other"]
    added.refresh()
    assert (added.status, added.attempts) == (TaskResultStatus.READY, 0)
    assert vtasks("resume", "--task", ADD) == f"task '{ADD}' goes on\n"
    run(1)  # two seconds after it was given back
    added.refresh()
    assert added.return_value == 1


def test_several_at_once_for_a_while() -> None:
    before = timezone.now()
    told = vtasks("pause", "--queue", "mail", "--task", NOTE, "--queue", "mail", "--for", "1h30m")
    names = [line.split(" is paused until ") for line in told.splitlines()]
    assert [name for name, _ in names] == ["queue 'mail'", f"task '{NOTE}'"]
    until = datetime.fromisoformat(names[0][1])
    assert abs((until - before).total_seconds() - 5400) < 60
    assert until.utcoffset() == until.astimezone(timezone.get_default_timezone()).utcoffset()
    seen = shown("queues")
    assert [row["paused"] for row in seen["queues"]] == [False, True]
    assert seen["queues"][1]["paused_until"] == names[0][1]
    assert seen["paused_tasks"] == [{"task": NOTE, "until": names[0][1]}]


def test_names_that_are_unknown_change_nothing() -> None:
    error = fails("pause", "--queue", "mail", "--queue", "mial")
    assert str(error) == "there is no queue 'mial'; did you mean 'mail'?"
    assert error.returncode == 1
    assert "there is no task 'tests.django.sample.nota'; did you mean" in str(
        fails("pause", "--queue", "mail", "--task", "tests.django.sample.nota")
    )
    assert "there is no queue 'x'; known are default, mail" in str(fails("resume", "--queue", "x"))
    assert shown("queues")["queues"][1]["paused"] is False
    assert "name a --queue or a --task" in str(fails("pause"))
    assert "name a --queue or a --task" in str(fails("resume"))


def test_what_the_settings_no_longer_name(change: Change) -> None:
    change(VTASKS_QUEUES=["default", "mail", "old"])
    sample.note.using(queue_name="old").enqueue(1)
    change(VTASKS_QUEUES=["default", "mail"])
    vtasks("pause", "--queue", "old")
    assert [row["queue"] for row in shown("queues")["queues"]] == ["default", "mail", "old"]
    assert vtasks("resume", "--queue", "old") == "queue 'old' goes on\n"


def test_queues() -> None:
    sample.fails.enqueue()
    run(1)
    sample.note.enqueue(1)
    later = timezone.now() + timedelta(hours=1)
    sample.note.using(run_after=later, queue_name="mail").enqueue(2)
    vtasks("pause", "--queue", "mail")
    vtasks("pause", "--task", NOTE)
    default, mail = shown("queues")["queues"]
    assert default.pop("oldest_ready") >= 0
    assert default == {
        "queue": "default",
        "ready": 1,
        "delayed": 0,
        "running": 0,
        "dead": 1,
        "paused": False,
        "paused_until": None,
    }
    assert (mail["delayed"], mail["oldest_ready"], mail["paused"]) == (1, None, True)
    lines = vtasks("queues").splitlines()
    assert lines[0].split() == ["QUEUE", *"READY DELAYED RUNNING DEAD OLDEST PAUSED".split()]
    assert lines[1].split()[:5] == ["default", "1", "0", "0", "1"]
    assert lines[2] == "mail         0        1        0     0  -       until it is resumed"
    assert lines[3] == f"task '{NOTE}' is paused until it is resumed"


def test_schedule() -> None:
    nightly, often = shown("schedule", "--count", "3")
    assert (nightly["entry"], nightly["task"], nightly["queue"]) == ("nightly", NOTE, "mail")
    assert (often["queue"], often["last"], often["overdue"]) == ("default", None, 0)
    runs = [datetime.fromisoformat(at) for at in nightly["next"]]
    assert [(at.hour, at.minute) for at in runs] == [(3, 0)] * 3
    assert runs == sorted(runs)
    first, second, third = (datetime.fromisoformat(at).timestamp() for at in often["next"])
    assert (second - first, third - second) == (60.0, 60.0)
    assert 0 < first - timezone.now().timestamp() <= 60.0
    lines = vtasks("schedule").splitlines()
    assert lines[0].split() == "ENTRY TASK QUEUE LAST OVERDUE JITTER NEXT".split()
    assert lines[1].split()[:6] == ["nightly", NOTE, "mail", "-", "0", "-"]
    assert "--count must be at least 1" in str(fails("schedule", "--count", "0"))


def test_a_schedule_shows_jitter_and_what_is_disabled(change: Change) -> None:
    entry = {"task": NOTE, "schedule": 60, "args": ["y"]}
    change(
        VTASKS_SCHEDULE={
            "apart": entry | {"jitter": 59},
            "off": entry | {"enabled": False},
        }
    )
    apart, off = shown("schedule", "--count", "3")
    assert (apart["jitter"], apart["enabled"]) == (59.0, True)
    due = [datetime.fromisoformat(at).timestamp() for at in apart["next"]]
    assert due == sorted(due)
    assert len({at % 60 for at in due}) > 1
    assert (off["jitter"], off["enabled"], off["next"], off["overdue"]) == (0.0, False, [], 0)
    lines = vtasks("schedule").splitlines()
    assert lines[1].split()[:6] == ["apart", NOTE, "default", "-", "0", "59s"]
    assert lines[2].split() == ["off", NOTE, "default", "-", "0", "-", "disabled"]


def test_a_schedule_without_entries(change: Change) -> None:
    change(VTASKS_SCHEDULE={})
    assert vtasks("schedule") == "VTASKS_SCHEDULE has no entries\n"
    assert shown("schedule") == []


def test_a_wrong_schedule_is_an_error(change: Change) -> None:
    change(VTASKS_SCHEDULE={"x": {"task": "no.such", "schedule": 60}})
    assert "VTASKS_SCHEDULE['x']['task'] is 'no.such'" in str(fails("schedule"))


def test_a_backend_that_keeps_nothing(change: Change) -> None:
    change(TASKS={"default": {"BACKEND": f"{BACKENDS}.immediate.ImmediateBackend"}})
    assert "runs each task within its enqueue" in str(fails("queues"))
    assert "TASKS['nobody']" in str(fails("queues", "--backend", "nobody"))
