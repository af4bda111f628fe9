"""Cron schedules against an oracle: a clock walked minute by minute, as Debian's cron lives it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, note
from hypothesis import strategies as st

from vtasks_asgi.core.schedule import Cron

MINUTE = timedelta(minutes=1)

#: (zone, the moment its clock changes, UTC). Forward then back, by an hour unless said.
CHANGES = [
    ("Europe/Berlin", "2025-03-30T01:00"),
    ("Europe/Berlin", "2025-10-26T01:00"),
    ("America/New_York", "2025-03-09T07:00"),
    ("America/New_York", "2025-11-02T06:00"),
    ("Australia/Lord_Howe", "2024-10-05T15:30"),  # by half an hour
    ("Australia/Lord_Howe", "2025-04-05T15:00"),
    ("America/Santiago", "2024-09-08T04:00"),  # at midnight: 00:00 becomes 01:00
    ("America/Santiago", "2025-04-06T03:00"),  # at midnight: 00:00 becomes 23:00
    ("Asia/Beirut", "2025-03-29T22:00"),  # at midnight
    ("Asia/Beirut", "2024-10-26T21:00"),  # at midnight
    ("Pacific/Chatham", "2025-04-05T14:00"),  # at 03:45, to 02:45
    ("Antarctica/Troll", "2025-03-30T01:00"),  # by two hours
    ("Antarctica/Troll", "2025-10-26T01:00"),
    ("Pacific/Apia", "2011-12-30T10:00"),  # by a whole day
    ("Asia/Kolkata", "2025-06-01T00:00"),  # no change at all
]
ZONES = sorted({zone for zone, _ in CHANGES} | {"UTC", "Asia/Kathmandu"})


@dataclass(frozen=True)
class Rule:
    """A cron expression and, worked out apart from cronsim, what it means."""

    minute: tuple[str, frozenset[int]]
    hour: tuple[str, frozenset[int]]
    day: tuple[str, frozenset[int]]
    month: tuple[str, frozenset[int]]
    weekday: tuple[str, frozenset[int]]

    @property
    def expression(self) -> str:
        fields = (self.minute, self.hour, self.day, self.month, self.weekday)
        return " ".join(text for text, _ in fields)

    @property
    def is_fixed(self) -> bool:
        return not (self.minute[0].startswith("*") or self.hour[0].startswith("*"))

    def matches(self, wall: datetime) -> bool:
        by_date = wall.day in self.day[1]
        by_weekday = wall.isoweekday() % 7 in self.weekday[1]
        if self.day[0].startswith("*") or self.weekday[0].startswith("*"):
            matching_day = by_date and by_weekday
        else:
            matching_day = by_date or by_weekday
        return (
            wall.minute in self.minute[1]
            and wall.hour in self.hour[1]
            and wall.month in self.month[1]
            and matching_day
        )


def fields(whole: range, top: int | None = None) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """A field's text and its numbers; those written out are at most ``top``."""
    numbers = st.integers(whole[0], whole[-1] if top is None else top)
    steps = st.integers(1, len(whole) - 1)
    star = st.just(("*", frozenset(whole)))
    every = steps.map(lambda n: (f"*/{n}", frozenset(whole[::n])))
    listed = st.sets(numbers, min_size=1, max_size=4).map(
        lambda s: (",".join(map(str, sorted(s))), frozenset(s))
    )
    ends = st.lists(numbers, min_size=2, max_size=2, unique=True).map(sorted)
    ranged = st.tuples(ends, steps).map(
        lambda t: (f"{t[0][0]}-{t[0][1]}/{t[1]}", frozenset(range(t[0][0], t[0][1] + 1, t[1])))
    )
    return star | every | listed | ranged


MINUTES, HOURS, DAYS, MONTHS, WEEKDAYS = (
    range(60),
    range(24),
    range(1, 32),
    range(1, 13),
    range(7),
)
#: Any time of day, most often in the small hours, when clocks change.
DAILY = st.builds(
    Rule,
    fields(MINUTES),
    fields(HOURS) | fields(HOURS, 4),
    st.just(("*", frozenset(DAYS))) | fields(DAYS, 28),
    st.just(("*", frozenset(MONTHS))),
    st.just(("*", frozenset(WEEKDAYS))) | fields(WEEKDAYS),
)
RULES = st.builds(
    Rule, fields(MINUTES), fields(HOURS), fields(DAYS, 28), fields(MONTHS), fields(WEEKDAYS)
)


def satisfiable(rule: Rule) -> bool:
    """A star with a step in the day's field asks for both days; they may never meet."""
    return "*" in (rule.day[0], rule.weekday[0]) or "*" not in (rule.day[0][0], rule.weekday[0][0])


def walk(zone: str, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    at = start
    while at < end:
        yield at, at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        at += MINUTE


def debian(rule: Rule, zone: str, start: datetime, end: datetime) -> list[float]:
    """When Debian's cron runs the job: it looks at the clock each minute.

    After a jump forward it runs the fixed jobs of every minute skipped, at once; after a jump back
    it does not run them again. Other jobs go by what the clock shows.
    """
    runs: set[float] = set()
    shown: set[datetime] = set()
    previous: datetime | None = None
    for at, wall in walk(zone, start - timedelta(hours=4), end):
        if not rule.is_fixed:
            due = rule.matches(wall)
        else:
            minutes = [wall]
            while previous is not None and minutes[-1] - MINUTE > previous:
                minutes.append(minutes[-1] - MINUTE)
            due = any(rule.matches(minute) for minute in minutes if minute not in shown)
            shown.update(minutes)
        previous = wall
        if due and at >= start:
            runs.add(at.timestamp())
    return sorted(runs)


def forward(cron: Cron, start: float, end: float) -> list[float]:
    found = [cron.next_boundary(math.nextafter(start, 0))]
    while found[-1] < end:
        found.append(cron.next_boundary(found[-1]))
        assert found[-1] > found[-2]
    return found[:-1]


def backward(cron: Cron, start: float, end: float) -> list[float]:
    return cron.boundaries(math.nextafter(start, 0), math.nextafter(end, 0), limit=10_000)


@given(st.sampled_from(CHANGES), DAILY.filter(satisfiable))
def test_around_a_change_jobs_run_as_under_debian(change: tuple[str, str], rule: Rule) -> None:
    note(f"{rule.expression} in {change}")
    zone, moment = change
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    start, end = at - timedelta(hours=6), at + timedelta(hours=6)
    expected = debian(rule, zone, start, end)
    cron = Cron(rule.expression, zone)
    assert forward(cron, start.timestamp(), end.timestamp()) == expected
    assert backward(cron, start.timestamp(), end.timestamp()) == expected


@given(
    st.sampled_from(CHANGES),
    DAILY.filter(satisfiable),
    st.floats(min_value=-4 * 3600, max_value=4 * 3600),
)
def test_asked_at_any_moment_around_a_change_the_answer_is_the_same(
    change: tuple[str, str], rule: Rule, offset: float
) -> None:
    note(f"{rule.expression} in {change}")
    zone, moment = change
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    start, end = at - timedelta(hours=5), at + timedelta(hours=5)
    expected = debian(rule, zone, start, end)
    now = at.timestamp() + offset
    cron = Cron(rule.expression, zone)
    if behind := [tick for tick in expected if tick <= now]:
        assert cron.last_boundary(now) == behind[-1]
    if ahead := [tick for tick in expected if tick > now]:
        assert cron.next_boundary(now) == ahead[0]


@given(
    RULES.filter(satisfiable),
    st.sampled_from(ZONES),
    st.floats(min_value=946684800, max_value=2145916800),  # 2000 to 2038
)
def test_now_lies_between_two_neighbouring_boundaries(rule: Rule, zone: str, now: float) -> None:
    cron = Cron(rule.expression, zone)
    note(f"{rule.expression} in {zone} at {now}")
    last, upcoming = cron.last_boundary(now), cron.next_boundary(now)
    assert last is not None
    assert last <= now < upcoming
    assert cron.next_boundary(last) == upcoming
    assert cron.last_boundary(math.nextafter(upcoming, 0)) == last
    assert cron.last_boundary(upcoming) == upcoming
    for boundary in (last, upcoming):
        wall = datetime.fromtimestamp(boundary, ZoneInfo(zone))
        before = datetime.fromtimestamp(boundary - 1, ZoneInfo(zone))
        at_a_change = wall.utcoffset() != before.utcoffset()
        assert rule.matches(wall.replace(tzinfo=None)) or (rule.is_fixed and at_a_change)


@given(RULES.filter(satisfiable), st.floats(min_value=946684800, max_value=2145916800))
def test_zones_differ_by_their_offset_alone(rule: Rule, now: float) -> None:
    utc, east = Cron(rule.expression, "UTC"), Cron(rule.expression, "Etc/GMT-3")
    assert east.next_boundary(now - 3 * 3600) == utc.next_boundary(now) - 3 * 3600
    last = utc.last_boundary(now)
    assert last is not None
    assert east.last_boundary(now - 3 * 3600) == last - 3 * 3600
    assert Cron(rule.expression, "Asia/Calcutta").next_boundary(now) == Cron(
        rule.expression, "Asia/Kolkata"
    ).next_boundary(now)
