"""Log lines: level, words and fields of each event; nothing secret, nothing forged."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeClock
from vtasks_asgi.core.outcome import (
    CANCELLED,
    DISCARDED,
    EXHAUSTED,
    EXPIRED,
    UNDECODABLE,
    Attempt,
    Dead,
    Done,
    Outcome,
    Release,
    Retry,
    dump_history,
)
from vtasks_asgi.observe import logs as logs_module
from vtasks_asgi.observe.logs import MAX_TEXT, Logs, clean
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.store.base import Claim, Ticked

TASK = "app.tasks.send"
SECRET = "hunter2"
HISTORY = dump_history([Attempt("w", 1.0, "app.errors.Refused", f"Traceback\nRefused: {SECRET}")])
DOCS = Path(__file__).parents[2] / "docs" / "observability.md"


def claim(queue: str = "default", id: str = "abc", lost: str | None = None) -> Claim:
    return Claim(id, queue, SECRET.encode(), 0, "token", 2, history=HISTORY, lost_worker=lost)


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    caplog.set_level(logging.DEBUG, "vtasks_asgi")
    logger, kept = logging.getLogger("vtasks_asgi"), Kept()
    logger.addHandler(kept)
    yield kept.records
    logger.removeHandler(kept)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    return {k[7:]: v for k, v in vars(record).items() if k.startswith("vtasks_")}


RUN = {"task": TASK, "queue": "default", "id": "abc", "attempt": 2, "seconds": 0.25}
FAILED = {"error": "app.errors.Refused"}


@pytest.mark.parametrize(
    ("outcome", "level", "words", "more"),
    [
        (Done(b"", SECRET.encode()), "DEBUG", "done in 0.250 s", {"event": "done"}),
        (Release(), "INFO", "attempt does not count", {"event": "released"}),
        (
            Retry(HISTORY, 4.0),
            "WARNING",
            "failed with app.errors.Refused in attempt 2, next in 4.0 s",
            {"event": "retry", "delay": 4.0} | FAILED,
        ),
        (
            Dead(HISTORY, EXHAUSTED),
            "ERROR",
            "given up on after attempt 2: max_attempts (app.errors.Refused)",
            {"event": "dead_letter", "reason": EXHAUSTED} | FAILED,
        ),
        (
            Dead(HISTORY, DISCARDED),
            "INFO",
            "given up on after attempt 2: discarded (app.errors.Refused)",
            {"event": "dead_letter", "reason": DISCARDED} | FAILED,
        ),
        (
            Dead(HISTORY, CANCELLED),
            "INFO",
            "ended in attempt 2: cancelled",
            {"event": "dead_letter", "reason": CANCELLED},
        ),
        (
            Dead(b"damaged", EXHAUSTED),
            "ERROR",
            "max_attempts (no error recorded)",
            {"event": "dead_letter", "reason": EXHAUSTED, "error": "no error recorded"},
        ),
    ],
)
def test_the_end_of_a_run(
    records: list[logging.LogRecord],
    outcome: Outcome,
    level: str,
    words: str,
    more: dict[str, Any],
) -> None:
    Events([Logs()]).finished(claim(), TASK, outcome, 0.25)
    [record] = records
    assert (record.name, record.levelname) == ("vtasks_asgi.tasks", level)
    assert words in record.getMessage()
    assert fields(record) == RUN | more


def test_a_dead_letter_without_a_run(records: list[logging.LogRecord]) -> None:
    Logs().given_up(claim(), "", Dead(HISTORY, UNDECODABLE))
    [record] = records
    assert record.levelname == "ERROR"
    run = {"task": "", "queue": "default", "id": "abc", "attempt": 2}
    assert fields(record) == run | FAILED | {"event": "dead_letter", "reason": UNDECODABLE}


def test_what_expired_is_no_failure_of_its_task(records: list[logging.LogRecord]) -> None:
    Logs().given_up(claim(), TASK, Dead(b"", EXPIRED))
    [record] = records
    assert (record.levelname, fields(record)["reason"]) == ("WARNING", EXPIRED)


def test_an_unknown_task_is_told_of_once_a_minute(records: list[logging.LogRecord]) -> None:
    clock = FakeClock()
    logs = Logs(clock=clock.monotonic)
    for _ in range(3):
        logs.parked(claim(), TASK, 10.0)
        logs.parked(claim(), "another", 20.0)
    assert [fields(record)["task"] for record in records] == [TASK, "another"]
    run = {"task": TASK, "queue": "default", "id": "abc", "attempt": 2}
    assert fields(records[0]) == run | {"event": "parked", "delay": 10.0}
    assert "abc for 10 s" in records[0].getMessage()
    clock.advance(logs_module.PARKED_PAUSE)
    logs.parked(claim(), TASK, 10.0)
    assert len(records) == 3


def test_unknown_names_take_no_memory() -> None:
    logs = Logs()
    for number in range(3 * logs_module.PARKED_NAMES):
        logs.parked(claim(), f"name {number}", 10.0)
    assert len(logs._parked) <= logs_module.PARKED_NAMES


def test_a_run_left_behind_is_told_of_with_its_stack(records: list[logging.LogRecord]) -> None:
    Logs().left_behind(claim(), TASK, "  File x, line 1\n")
    [record] = records
    assert (record.levelname, fields(record)["event"]) == ("ERROR", "left_behind")
    assert "File x, line 1" in record.getMessage()


def test_success_is_not_told_above_debug(
    records: list[logging.LogRecord], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vtasks_asgi")
    Logs().finished(claim(), TASK, Done(b""), 0.25)
    assert records == []


def test_the_runtimes_events(records: list[logging.LogRecord]) -> None:
    tell = Events([Logs()])
    tell.stale([claim(id="a"), claim(id="b"), claim("mail", "c")])
    tell.reclaimed("default", [claim(id="a", lost="host-1"), claim(id="b")])
    tell.reclaimed("default", [])
    tell.evicted("default", 7)
    tell.cancelled([claim(id="a"), claim(id="b")])
    tell.queue_paused("mail", True)
    tell.task_paused(TASK, False)
    tell.tick("nightly", 0.2, Ticked.FIRED)
    tell.tick("nightly", 45.0, Ticked.FIRED)
    tell.tick("nightly", 45.0, Ticked.LATE)
    tell.tick("nightly", 0.3, Ticked.SKIPPED)
    tell.service_recovered("fetch")
    seen = [(r.levelname, fields(r)) for r in records]
    default = {"queue": "default", "count": 2, "ids": ["a", "b"]}
    assert seen == [
        ("WARNING", {"event": "stale"} | default),
        ("WARNING", {"event": "stale", "queue": "mail", "count": 1, "ids": ["c"]}),
        ("WARNING", {"event": "reclaimed", "lost_worker": "host-1"} | default),
        ("ERROR", {"event": "evicted", "queue": "default", "count": 7}),
        ("INFO", {"event": "cancelled"} | default),
        ("WARNING", {"event": "paused", "queue": "mail"}),
        ("WARNING", {"event": "resumed", "task": TASK}),
        ("DEBUG", {"event": "tick", "schedule": "nightly", "seconds": 0.2}),
        ("WARNING", {"event": "tick", "schedule": "nightly", "seconds": 45.0}),
        ("INFO", {"event": "tick_skipped", "schedule": "nightly", "seconds": 0.3}),
        ("INFO", {"event": "service_recovered", "service": "fetch"}),
    ]
    assert {r.name for r in records} == {"vtasks_asgi.runtime"}
    assert all(r.getMessage() for r in records)


def test_loop_lag_names_the_culprit_and_does_not_flood(records: list[logging.LogRecord]) -> None:
    clock = FakeClock()
    logs = Logs(slow_loop=0.25, pause=10.0, clock=clock.monotonic)
    logs.loop_lag(0.2, TASK)
    assert records == []
    logs.loop_lag(0.5, TASK)
    for lag, culprit in ((0.9, "app.tasks.worse"), (0.4, TASK)):
        clock.advance(1.0)
        logs.loop_lag(lag, culprit)
    clock.advance(10.0)
    logs.loop_lag(0.3, None)
    clock.advance(10.0)
    logs.loop_lag(0.3, None)
    assert [(r.vtasks_seconds, r.vtasks_culprit) for r in records] == [  # type: ignore[attr-defined]
        (0.5, TASK),
        (0.9, "app.tasks.worse"),
        (0.3, None),
    ]
    assert records[0].getMessage().endswith(f"blocked for 0.50 s; in progress was {TASK}")
    assert records[2].getMessage() == "The event loop was blocked for 0.30 s"


EVIL = "app\r\nERROR forged\x1b[2J\u2028\u202egnp.exe\x00"


def tell_everything(tell: Events, name: str) -> None:
    """Every event, with ``name`` wherever a name or an id can be."""
    evil = claim(name, name, name)
    history = dump_history([Attempt(name, 1.0, name, f"{name} {SECRET}")])
    ends = (Dead(history, name), Dead(history, CANCELLED))
    for outcome in (Done(b""), Release(), Retry(history, 1.0), *ends):
        tell.finished(evil, name, outcome, 0.1)
    tell.submitted(name, name, 1)
    tell.started(evil, name, 0.1)
    tell.stale([evil])
    tell.reclaimed(name, [evil])
    tell.evicted(name, 1)
    tell.cancelled([evil])
    tell.queue_paused(name, True)
    tell.task_paused(name, False)
    tell.tick(name, 1.0, Ticked.FIRED)
    tell.tick(name, 1.0, Ticked.SKIPPED)
    tell.loop_lag(5.0, name)
    tell.service_failed(name, ValueError(SECRET))
    tell.service_recovered(name)


@pytest.mark.parametrize("name", [EVIL, "x" * 100_000])
def test_nothing_is_forged_or_leaked(records: list[logging.LogRecord], name: str) -> None:
    tell_everything(Events([Logs()]), name)
    assert len(records) >= 10
    for record in records:
        told = f"{record.getMessage()} {fields(record)}"
        assert told.isprintable()
        assert SECRET not in told
        assert len(told) < 20 * MAX_TEXT


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("app.tasks.send", "app.tasks.send"),
        ("grüße.日本", "grüße.日本"),
        ("a\nb", "a?b"),
        ("a\x7f\u200b\ud800", "a???"),
        ("x" * MAX_TEXT, "x" * MAX_TEXT),
        ("x" * (MAX_TEXT + 1), "x" * (MAX_TEXT - 3) + "..."),
        ("\n" * 1000, "?" * (MAX_TEXT - 3) + "..."),
    ],
)
def test_clean(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_a_batch_that_fails_is_told_and_a_single_message_by_its_own_line(
    records: list[logging.LogRecord],
) -> None:
    tell = Events([Logs()])
    for size, error in [(9, None), (1, ValueError(SECRET)), (9, ValueError(SECRET))]:
        tell.batch_ended("default", TASK, size, 0.25, error)
    [record] = records
    assert record.levelname == "WARNING"
    assert (
        record.getMessage() == f"A batch of 9 messages for {TASK} failed with builtins.ValueError"
    )
    assert fields(record) == {
        "event": "batch_failed",
        "task": TASK,
        "queue": "default",
        "count": 9,
        "seconds": 0.25,
        "error": "builtins.ValueError",
    }


def test_every_field_is_documented(records: list[logging.LogRecord]) -> None:
    tell_everything(Events([Logs()]), TASK)
    Events([Logs()]).batch_ended("default", TASK, 9, 0.25, ValueError())
    documented = set(re.findall(r"`vtasks_(\w+)`", DOCS.read_text()))
    for record in records:
        assert set(fields(record)) <= documented
    events = {fields(record)["event"] for record in records}
    assert events <= set(re.findall(r"`(\w+)`", DOCS.read_text()))
