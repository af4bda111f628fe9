"""The days clocks change, written out: what runs, when, and how often."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from vtasks_asgi.core.schedule import Cron


def between(cron: Cron, start: float, end: float) -> list[float]:
    """The boundaries from ``start`` on and before ``end``, both whole seconds."""
    return cron.boundaries(start - 1, end - 1, limit=10_000)


#: zone, expression, the local day, the runs of that day
TABLE = [
    # Berlin, 2025-03-30: 02:00 becomes 03:00.
    ("Europe/Berlin", "30 2 * * *", "2025-03-30", ["03:00+02:00"]),
    ("Europe/Berlin", "0,30 2 * * *", "2025-03-30", ["03:00+02:00"]),
    ("Europe/Berlin", "30 2,3 * * *", "2025-03-30", ["03:00+02:00", "03:30+02:00"]),
    ("Europe/Berlin", "*/30 2 * * *", "2025-03-30", []),
    # Berlin, 2025-10-26: 03:00 becomes 02:00.
    ("Europe/Berlin", "30 2 * * *", "2025-10-26", ["02:30+02:00"]),
    ("Europe/Berlin", "0 3 * * *", "2025-10-26", ["03:00+01:00"]),
    (
        *("Europe/Berlin", "*/30 2 * * *", "2025-10-26"),
        ["02:00+02:00", "02:30+02:00", "02:00+01:00", "02:30+01:00"],
    ),
    # New York, 2025-03-09: 02:00 becomes 03:00; 2025-11-02: 02:00 becomes 01:00.
    ("America/New_York", "15 2 * * *", "2025-03-09", ["03:00-04:00"]),
    ("America/New_York", "15 1 * * *", "2025-11-02", ["01:15-04:00"]),
    (
        "America/New_York",
        "*/45 1 * * *",
        "2025-11-02",
        ["01:00-04:00", "01:45-04:00", "01:00-05:00", "01:45-05:00"],
    ),
    # Lord Howe, 2024-10-06: 02:00 becomes 02:30; 2025-04-06: 02:00 becomes 01:30.
    ("Australia/Lord_Howe", "15 2 * * *", "2024-10-06", ["02:30+11:00"]),
    ("Australia/Lord_Howe", "45 2 * * *", "2024-10-06", ["02:45+11:00"]),
    ("Australia/Lord_Howe", "*/20 2 * * *", "2024-10-06", ["02:40+11:00"]),
    ("Australia/Lord_Howe", "45 1 * * *", "2025-04-06", ["01:45+11:00"]),
    (
        *("Australia/Lord_Howe", "*/20 1 * * *", "2025-04-06"),
        ["01:00+11:00", "01:20+11:00", "01:40+11:00", "01:40+10:30"],
    ),
    # Santiago, 2024-09-08: 00:00 becomes 01:00; 2025-04-05: 24:00 becomes 23:00.
    ("America/Santiago", "0 0 * * *", "2024-09-08", ["01:00-03:00"]),
    ("America/Santiago", "*/30 0 * * *", "2024-09-08", []),
    ("America/Santiago", "0 0 8 9 *", "2024-09-08", ["01:00-03:00"]),
    ("America/Santiago", "0 23 * * *", "2025-04-05", ["23:00-03:00"]),
    (
        "America/Santiago",
        "*/30 23 * * *",
        "2025-04-05",
        ["23:00-03:00", "23:30-03:00", "23:00-04:00", "23:30-04:00"],
    ),
    ("America/Santiago", "0 0 * * *", "2025-04-06", ["00:00-04:00"]),
    # Beirut, 2025-03-30: 00:00 becomes 01:00.
    ("Asia/Beirut", "0,30 0 * * *", "2025-03-30", ["01:00+03:00"]),
    ("Asia/Beirut", "@daily", "2025-03-30", ["01:00+03:00"]),
]


@pytest.mark.parametrize(("zone", "expression", "day", "runs"), TABLE)
def test_the_day_the_clock_changes(zone: str, expression: str, day: str, runs: list[str]) -> None:
    midnight = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=UTC)
    start, end = midnight - timedelta(days=1), midnight + timedelta(days=2)
    seen = [
        datetime.fromtimestamp(at, ZoneInfo(zone)).isoformat(timespec="minutes")
        for at in between(Cron(expression, zone), start.timestamp(), end.timestamp())
    ]
    assert [at.removeprefix(f"{day}T") for at in seen if at.startswith(day)] == runs


def test_a_job_at_a_fixed_time_runs_once_on_every_day_of_the_year() -> None:
    for zone in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut"):
        for expression in ("30 2 * * *", "45 1 * * *", "0 0 * * *", "59 23 * * *"):
            start = datetime(2025, 1, 1, tzinfo=ZoneInfo(zone)).timestamp()
            end = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone)).timestamp()
            assert len(between(Cron(expression, zone), start, end)) == 365


@pytest.mark.parametrize("expression", ["0 * * * *", "0 */1 * * *"])
def test_an_hourly_job_keeps_its_pace_through_every_change(expression: str) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
    hourly = [start + 3600 * hour for hour in range(365 * 24)]
    assert between(Cron(expression, "Europe/Berlin"), start, hourly[-1] + 1) == hourly


def test_half_past_offsets_do_not_hang_or_lose_an_hour() -> None:
    """Both happen to cronsim 2.8 when it is given a time zone."""
    chatham = Cron("5 */2 * * *", "Pacific/Chatham")
    at = datetime.fromisoformat("2027-04-04T03:00:07+13:45").timestamp()
    last = chatham.last_boundary(at)
    assert last == datetime.fromisoformat("2027-04-04T02:05:00+13:45").timestamp()
    lord_howe = Cron("*/10 5 * * *", "Australia/Lord_Howe")
    at = datetime.fromisoformat("2025-10-05T01:00:00+10:30").timestamp()
    first = datetime.fromisoformat("2025-10-05T05:00:00+11:00").timestamp()
    assert lord_howe.next_boundary(at) == first


def test_equal_rules_are_equal_schedules() -> None:
    assert Cron("0 5 * * *", "Europe/Berlin") == Cron("0  5 * * *", "Europe/Berlin")
    assert Cron("0 5 * * *", "Europe/Berlin") != Cron("0 5 * * *", "Europe/Paris")
    assert len({Cron("@daily"), Cron("0 0 * * *")}) == 1
