"""Entries of VTASKS_SCHEDULE: every mistake is named with its fix."""

import math
from datetime import datetime, time, timedelta
from typing import Any

import pytest

from vtasks_asgi.core.schedule import (
    Cron,
    Crontab,
    Entry,
    Every,
    Schedule,
    ScheduleError,
    crontab,
    parse_entry,
)

MINIMAL: dict[str, Any] = {"task": "shop.tasks.report", "schedule": 3600}


def problems(raw: Any, name: Any = "nightly") -> list[str]:
    with pytest.raises(ScheduleError) as caught:
        parse_entry(name, raw)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_an_entry_has_defaults() -> None:
    assert parse_entry("nightly", MINIMAL) == Entry(
        name="nightly",
        task="shop.tasks.report",
        schedule=Every(3600),
        args=(),
        kwargs={},
        queue_name=None,
        priority=None,
        misfire="latest",
        max_catch_up=100,
        misfire_grace_time=None,
        unique=None,
        unique_key=None,
        jitter=0.0,
        enabled=True,
    )


def test_every_key_arrives() -> None:
    entry = parse_entry(
        "nightly",
        {
            "task": "shop.tasks.report",
            "schedule": crontab(0, 5),
            "args": ["daily", 7],
            "kwargs": {"to": None},
            "queue_name": "slow",
            "priority": -100,
            "timezone": "Europe/Berlin",
            "misfire": "all",
            "max_catch_up": 5,
            "misfire_grace_time": 90,
            "unique": True,
            "unique_key": "report",
            "jitter": timedelta(minutes=5),
            "enabled": "shop.flags.reports",
        },
    )
    assert entry == Entry(
        name="nightly",
        task="shop.tasks.report",
        schedule=Cron("0 5 * * *", "Europe/Berlin"),
        args=("daily", 7),
        kwargs={"to": None},
        queue_name="slow",
        priority=-100,
        misfire="all",
        max_catch_up=5,
        misfire_grace_time=90.0,
        unique=True,
        unique_key="report",
        jitter=300.0,
        enabled="shop.flags.reports",
    )


@pytest.mark.parametrize(
    ("written", "schedule"),
    [
        (60, Every(60)),
        (1.5, Every(1.5)),
        (timedelta(hours=1), Every(3600)),
        ("0 5 * * *", Cron("0 5 * * *", "Asia/Tokyo")),
        ("@daily", Cron("0 0 * * *", "Asia/Tokyo")),
        (crontab(0, 5), Cron("0 5 * * *", "Asia/Tokyo")),
    ],
)
def test_a_schedule_can_be_written_in_many_ways(written: object, schedule: Schedule) -> None:
    entry = parse_entry("x", MINIMAL | {"schedule": written}, default_zone="Asia/Tokyo")
    assert entry.schedule == schedule


def test_the_entry_does_not_change_with_the_settings() -> None:
    args, kwargs = [1], {"a": 1}
    entry = parse_entry("x", MINIMAL | {"args": args, "kwargs": kwargs})
    args.append(2)
    kwargs["b"] = 2
    assert (entry.args, entry.kwargs) == ((1,), {"a": 1})


SCHEDULES = "use crontab(...) of vtasks_asgi.scheduler, a cron string, a number of seconds"
WRONG: list[tuple[str, object, str]] = [
    ("task", "report", "write one such as 'shop.tasks.report'"),
    ("task", "shop.tasks.", "write one such as"),
    ("task", "shop tasks.report", "write one such as"),
    ("task", len, "write the task's dotted path, as a string"),
    ("schedule", True, f"is a bool; {SCHEDULES}"),
    ("schedule", None, SCHEDULES),
    ("schedule", crontab, SCHEDULES),
    ("schedule", time(5, 0), f"is a time; {SCHEDULES}"),
    ("schedule", 0, "use 1 to 31622400 (366 days), or a cron expression"),
    ("schedule", -5, "use 1 to"),
    ("schedule", 0.5, "use 1 to"),
    ("schedule", math.nan, "use 1 to"),
    ("schedule", math.inf, "use 1 to"),
    ("schedule", 86_400_000, "use 1 to"),
    ("schedule", timedelta(0), "use 1 to"),
    ("schedule", timedelta(days=-1), "use 1 to"),
    ("schedule", "3600", "for a period in seconds drop the quotes"),
    ("schedule", "0 25 * * *", "hour '25' is not valid, use 0-23"),
    ("schedule", "0 0 5 * * *", "a cron expression has five"),
    ("schedule", "0 0 31 4 *", "widen one of them"),
    ("schedule", "9" * 10_000, "drop the quotes"),
    ("schedule", "1," * 5_000, "is over the limit of 512; use ranges"),
    ("args", "daily", "is a str; write a list, such as ['daily', 7]"),
    ("args", {1}, "write a list"),
    ("args", [b"x"], "args[0] is a bytes, which is not JSON-serialisable; pass"),
    ("args", [math.nan], "args[0] is nan, which JSON cannot carry"),
    ("args", (datetime(2025, 1, 1),), "args[0] is a datetime"),
    ("kwargs", ["to"], "is a list; write a dict, such as {'days': 7}"),
    ("kwargs", {1: 2}, "kwargs has the key 1; JSON keys are strings"),
    ("kwargs", {"to": {"x": {3}}}, "kwargs['to']['x'] is a set"),
    ("queue_name", "", "write the name of one, as a string"),
    ("queue_name", 3, "write the name of one"),
    ("priority", 101, "use a whole number, -100 to 100"),
    ("priority", -101, "use a whole number, -100 to 100"),
    ("priority", True, "use a whole number"),
    ("priority", 1.0, "use a whole number"),
    ("misfire", "none", "use 'latest', 'skip' or 'all'"),
    ("misfire", None, "use 'latest', 'skip' or 'all'"),
    ("misfire_grace_time", 0, "use seconds above 0, or None for no limit"),
    ("misfire_grace_time", -1, "use seconds above 0"),
    ("misfire_grace_time", math.nan, "use seconds above 0"),
    ("misfire_grace_time", math.inf, "use seconds above 0"),
    ("misfire_grace_time", True, "use seconds above 0"),
    ("misfire_grace_time", "60", "use seconds above 0"),
    ("unique", 1, "use True or False"),
    ("unique", None, "use True or False"),
    ("unique_key", "", "use a text"),
    ("unique_key", len, "use a text"),
    ("jitter", -1, "use 0 to 86400 seconds (a day)"),
    ("jitter", 86401, "use 0 to 86400 seconds"),
    ("jitter", math.nan, "use 0 to 86400 seconds"),
    ("jitter", True, "is a bool; use a number of seconds or a timedelta"),
    ("jitter", "5m", "is a str; use a number of seconds or a timedelta"),
    ("jitter", 3600, "reaches beyond the next tick; use less than the period"),
    ("enabled", 1, "use True or False, or a function that returns one of them, or its dotted path"),
    ("enabled", None, "use True or False"),
    ("enabled", "", "use True or False"),
    ("enabled", "yes", "use True or False"),
    ("enabled", "shop.", "use True or False"),
    ("enabled", bool, "use True or False"),
]


@pytest.mark.parametrize(("key", "value", "fix"), WRONG)
def test_a_wrong_value_is_named_with_its_fix(key: str, value: object, fix: str) -> None:
    (problem,) = problems(MINIMAL | {key: value})
    assert problem.startswith(f"VTASKS_SCHEDULE['nightly'][{key!r}]")
    assert fix in problem
    assert len(problem) < 400


@pytest.mark.parametrize(
    "value", ["Mars/Base", "", "Europe", "../../etc/passwd", "/etc/passwd", "UTC\n", 1, None]
)
def test_a_wrong_time_zone_is_named_with_its_fix(value: object) -> None:
    (problem,) = problems(MINIMAL | {"schedule": crontab(), "timezone": value})
    assert problem.startswith("VTASKS_SCHEDULE['nightly']['timezone']: ")
    assert "such as 'Europe/Berlin'" in problem


@pytest.mark.parametrize("value", [0, -1, 1001, True, 2.0, "10"])
def test_a_wrong_limit_of_catching_up_is_named_with_its_fix(value: object) -> None:
    (problem,) = problems(MINIMAL | {"misfire": "all", "max_catch_up": value})
    assert problem.startswith("VTASKS_SCHEDULE['nightly']['max_catch_up']: ")
    assert "use a whole number, 1 to 1000" in problem


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [
        ("arg", "did you mean 'args'?"),
        ("queue", "did you mean 'queue_name'?"),
        ("time_zone", "did you mean 'timezone'?"),
        ("misfire_grace", "did you mean 'misfire_grace_time'?"),
        ("shedule", "did you mean 'schedule'?"),
        ("zzz", "the keys are task, schedule, args, kwargs, queue_name, priority, timezone"),
        (7, "the keys are task"),
    ],
)
def test_an_unknown_key_is_met_with_the_nearest_one(key: object, suggestion: str) -> None:
    (problem,) = problems({**MINIMAL, key: 1})
    assert problem.startswith(f"VTASKS_SCHEDULE['nightly'][{key!r}] is not a key")
    assert suggestion in problem


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ({"timezone": "UTC"}, "['timezone'] has no effect on a period; remove it"),
        ({"max_catch_up": 5}, "['max_catch_up'] has no effect; remove it, or add 'misfire': 'all'"),
        ({"misfire": "skip", "misfire_grace_time": None}, "use seconds, or drop 'misfire'"),
        ({"unique": False, "unique_key": "x"}, "['unique_key'] has no effect; remove it, or"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(extra: dict[str, Any], problem: str) -> None:
    (told,) = problems(MINIMAL | extra)
    assert told.startswith("VTASKS_SCHEDULE['nightly']['")
    assert problem in told


def test_all_problems_are_told_at_once() -> None:
    told = problems({"tusk": 1, "schedule": 0, "args": 1, "priority": 1000, "misfire": "no"})
    keys = [problem.split("]")[1].lstrip("[") for problem in told]
    assert keys == ["'args'", "'misfire'", "'priority'", "'schedule'", "'task'", "'tusk'"]
    assert "VTASKS_SCHEDULE['nightly']['task'] is missing; add the dotted path" in "\n".join(told)


@pytest.mark.parametrize("raw", [None, [], "shop.tasks.report", 3600, crontab()])
def test_an_entry_is_a_dict(raw: object) -> None:
    (problem,) = problems(raw)
    assert problem.startswith("VTASKS_SCHEDULE['nightly'] is a ")
    assert "write a dict" in problem


@pytest.mark.parametrize("name", ["", "x" * 129, "two\nlines", "\x1b[31m", 7, None])
def test_a_name_is_short_and_printable(name: object) -> None:
    (problem,) = problems(MINIMAL, name)
    assert problem.startswith(f"VTASKS_SCHEDULE[{name!r:.60}]: ")
    assert problem.isprintable()


def test_a_crontab_is_no_schedule_until_it_has_a_zone() -> None:
    assert not isinstance(crontab(), Schedule)
    assert isinstance(parse_entry("x", MINIMAL | {"schedule": crontab()}).schedule, Cron)
    assert repr(crontab(0, 5)) == "Crontab(expression='0 5 * * *')"
    assert Crontab("0 5 * * *") == crontab(0, 5)
