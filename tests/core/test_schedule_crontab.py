"""Expressions are checked when they are written: errors name the field, and come fast."""

import re
import sys
from datetime import date

import pytest
from cronsim import CronSim

from vtasks_asgi.core.schedule import Cron, Crontab, crontab
from vtasks_asgi.core.schedule.crontab import MAX_LENGTH

MODULES = ("vtasks_asgi.core.schedule.cron", "vtasks_asgi.core.schedule.crontab")


@pytest.mark.parametrize(
    ("value", "expression"),
    [
        (crontab(), "* * * * *"),
        (crontab(0, 5), "0 5 * * *"),
        (crontab(hour=5, minute=0), "0 5 * * *"),
        (crontab(1, 2, 3, 4, 5), "1 2 4 5 3"),  # Celery's argument order, cron's field order
        (crontab("*/15", "9-17", "MON-FRI"), "*/15 9-17 * * MON-FRI"),
        (crontab(0, 0, day_of_month="L", month_of_year="jan,jul"), "0 0 L jan,jul *"),
        (crontab(0, 0, day_of_week="1#2"), "0 0 * * 1#2"),
        (Crontab("  0   5 * * *\t"), "0 5 * * *"),
        (Crontab("@daily"), "0 0 * * *"),
        (Crontab(" @Hourly "), "0 * * * *"),
        (Crontab("@weekly"), "0 0 * * 0"),
        (Crontab("@monthly"), "0 0 1 * *"),
        (Crontab("@yearly"), "0 0 1 1 *"),
    ],
)
def test_the_expression_written(value: Crontab, expression: str) -> None:
    assert value.expression == expression
    assert value == Crontab(expression)
    assert hash(value) == hash(Crontab(expression))


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"minute": 60}, "minute"),
        ({"minute": -1}, "minute"),
        ({"minute": ""}, "minute"),
        ({"minute": "1 2"}, "minute"),
        ({"minute": "*/90"}, "minute"),
        ({"minute": "*/0"}, "minute"),
        ({"minute": "5-5/10"}, "minute"),
        ({"minute": "0,7-7/2"}, "minute"),
        ({"minute": True}, "minute"),
        ({"minute": 1.0}, "minute"),
        ({"minute": [0, 30]}, "minute"),
        ({"minute": None}, "minute"),
        ({"hour": 24}, "hour"),
        ({"hour": "5-3"}, "hour"),
        ({"hour": "*/25"}, "hour"),
        ({"day_of_week": 8}, "day_of_week"),
        ({"day_of_week": "monday"}, "day_of_week"),
        ({"day_of_week": "FRI-MON"}, "day_of_week"),
        ({"day_of_week": "1#6"}, "day_of_week"),
        ({"day_of_month": 0}, "day_of_month"),
        ({"day_of_month": 32}, "day_of_month"),
        ({"month_of_year": 13}, "month_of_year"),
        ({"month_of_year": "foo"}, "month_of_year"),
        ({"hour": "²"}, "hour"),
        ({"hour": "9" * 300}, "hour"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, object], field: str) -> None:
    with pytest.raises(ValueError, match=rf"^{field} .*use ") as caught:
        crontab(**arguments)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 300


def test_every_wrong_field_of_an_expression_is_named() -> None:
    with pytest.raises(ValueError) as caught:
        Crontab("61 25 32 13 8")
    for field in ("minute '61'", "hour '25'", "day_of_month '32'", "month_of_year '13'"):
        assert field in str(caught.value)
    assert "day_of_week '8' is not valid, use 0-7 or SUN-SAT" in str(caught.value)


@pytest.mark.parametrize("expression", ["", " ", "* * * *", "0 0 5 * * *", "@reboot", "daily"])
def test_an_expression_has_five_fields(expression: str) -> None:
    with pytest.raises(ValueError, match="a cron expression has five: minute hour"):
        Crontab(expression)


NEVER = [
    "0 0 31 4 *",
    "0 0 30 2 *",
    "0 0 31 2,4,6,9,11 *",
    "0 0 30,31 2 */2",
    "0 0 */16 * MON#2",  # the 1st and the 17th, and the second Monday: the 8th to the 14th
]
RARE = {
    "0 0 29 2 *": date(2028, 2, 29),
    "0 0 * 2 MON#5": date(2044, 2, 29),
    "0 0 29 2 */7": date(2032, 2, 29),  # both must match, for one of them starts with a star
    "0 0 29 2 SUN": date(2027, 2, 7),  # either may match
    "0 0 LW 2 *": date(2027, 2, 26),
    "0 0 L 2 *": date(2027, 2, 28),
}


@pytest.mark.parametrize("expression", NEVER)
def test_an_expression_that_never_matches_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"no date ever matches day_of_month '.*; widen"):
        Crontab(expression)


@pytest.mark.parametrize(("expression", "day"), RARE.items())
def test_a_rare_date_is_found(expression: str, day: date) -> None:
    at = Cron(expression).next_boundary(1_800_000_000.0)  # 2027-01-15
    assert date.fromtimestamp(at) == day or date.fromtimestamp(at + 43200) == day


@pytest.mark.parametrize("expression", [*NEVER, *RARE])
def test_no_expression_costs_more_than_a_few_thousand_days(
    expression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The days looked at are counted: 50 years of them, as cronsim would do, are 18,000."""
    looked_at = 0

    class Counting(CronSim):
        def match_day(self, d: date) -> bool:
            nonlocal looked_at
            looked_at += 1
            return super().match_day(d)

    for name in MODULES:
        monkeypatch.setattr(sys.modules[name], "CronSim", Counting)
    if expression in NEVER:
        with pytest.raises(ValueError, match="no date"):
            Cron(expression)
    else:
        cron = Cron(expression)
        cron.next_boundary(1_800_000_000.0)
        cron.last_boundary(1_800_000_000.0)
    assert looked_at < 4000


@pytest.mark.parametrize("length", [MAX_LENGTH + 1, 10_000, 1_000_000])
def test_an_endless_expression_is_refused_unread(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expression = ("1," * length)[:length]

    def read(*args: object) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr(sys.modules[MODULES[1]], "CronSim", read)
    with pytest.raises(ValueError, match=f"of {length} characters is over the limit"):
        Crontab(expression)
    with pytest.raises(ValueError, match="over the limit"):
        crontab(minute=expression)


def test_every_minute_of_every_hour_written_out_still_fits() -> None:
    minutes = ",".join(map(str, range(60)))
    hours = ",".join(map(str, range(24)))
    days = ",".join(map(str, range(1, 32)))
    months = ",".join(map(str, range(1, 13)))
    cron = Cron(f"{minutes} {hours} {days} {months} 0,1,2,3,4,5,6")
    assert cron.next_boundary(59.5) == 60


@pytest.mark.parametrize(
    "zone", ["Mars/Base", "", "Europe", "../UTC", "/etc/passwd", "A\0B", "\ud800"]
)
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="no IANA time zone; use a name such as 'Europe/Berlin'"):
        Cron("0 5 * * *", zone)


def test_errors_do_not_echo_long_input() -> None:
    with pytest.raises(ValueError) as caught:
        Crontab("x" * 100 + " 0 * * *")
    assert re.search("x{61}", str(caught.value)) is None
