"""Ticks on every store: unique ones, those with jitter, and entries that are switched off."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.core.checks import run_checks
from django.tasks import task_backends

from tests.django import sample
from tests.django.conftest import Change
from tests.django.everywhere import each_backend
from tests.django.helpers import run
from vtasks_asgi import task
from vtasks_asgi.assembly import assemble, opened, schedule_entries
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.core.schedule import Entry
from vtasks_asgi.exceptions import ConfigurationError
from vtasks_asgi.store.base import FullStore, Ticked

__all__ = ["each_backend"]

NOTE = "tests.django.sample.note"
ENTRY: dict[str, Any] = {"task": NOTE, "schedule": 60, "args": ["tick"]}
AT = 1_800_000_000.0

on, off, unsure = (lambda: True), (lambda: False), (lambda: "maybe")


def flagged() -> bool:
    return sample.SEEN == ["on"]


def backend() -> VTasksBackend:
    found = task_backends["default"]
    assert isinstance(found, VTasksBackend)
    return found


def entries(change: Change, **options: Any) -> list[Entry]:
    change(VTASKS_SCHEDULE={"x": ENTRY | options})
    return schedule_entries(backend())


def asked[T](question: Callable[[FullStore], Any]) -> Any:
    async def ask() -> Any:
        async with opened(backend()) as store:
            return await question(store)

    return asyncio.run(ask())


def tick(entry: Entry, at: float) -> Any:
    message = backend().tick_message(entry, at)
    return asked(lambda store: store.push_tick(entry.name, at, message))


@pytest.mark.usefixtures("each_backend")
def test_a_unique_tick_is_skipped_while_the_last_one_waits_or_runs(change: Change) -> None:
    [entry] = entries(change, unique=True)
    claims: list[Any] = []

    async def claim(store: FullStore) -> None:
        claimed = await store.claim("default", 5, worker="w", lease=0.01)
        claims.extend(claimed.claims)

    assert tick(entry, AT) is Ticked.FIRED
    assert tick(entry, AT + 60) is Ticked.SKIPPED, "the last one waits"
    asked(claim)
    assert len(claims) == 1
    assert tick(entry, AT + 120) is Ticked.SKIPPED, "the last one runs"
    assert tick(entry, AT + 120) is Ticked.LATE
    run(1)  # its lease is over
    assert sample.SEEN == ["tick"]
    assert tick(entry, AT + 180) is Ticked.FIRED
    run(1)
    assert sample.SEEN == ["tick", "tick"]


@task(unique=True, unique_key="job", max_attempts=2, backoff=lambda *_: 0.0)
def fails_once() -> None:
    sample.SEEN.append("run")
    if len(sample.SEEN) == 1:
        raise ValueError


@pytest.mark.usefixtures("each_backend")
def test_so_is_one_of_a_unique_task_until_it_has_ended_for_good(change: Change) -> None:
    [entry] = entries(change, task=fails_once.module_path, args=[])
    assert tick(entry, AT) is Ticked.FIRED
    assert fails_once.enqueue() is None, "a tick holds the key for everybody"
    assert tick(entry, AT + 60) is Ticked.SKIPPED
    run(2)
    assert sample.SEEN == ["run", "run"]
    assert tick(entry, AT + 120) is Ticked.FIRED


@pytest.mark.usefixtures("each_backend")
def test_jitter_puts_the_message_of_a_tick_off(change: Change) -> None:
    [entry] = entries(change, jitter=50)
    message = backend().tick_message(entry, AT)
    assert message.run_at == pytest.approx(entry.start(AT), abs=1e-5)
    again = backend().tick_message(entry, AT)
    assert (again.id, again.run_at) == (message.id, message.run_at)
    assert message.run_at is not None
    assert AT < message.run_at < AT + 50
    assert tick(entry, AT) is Ticked.FIRED
    [record] = asked(partial(_looked_up, message.id)).values()
    assert record.run_at == pytest.approx(message.run_at, abs=0.001)


async def _looked_up(id: str, store: FullStore) -> Any:
    return await store.lookup([id])


def test_a_tick_with_jitter_expires_after_it_is_due(change: Change) -> None:
    name = short_lived.module_path
    [entry] = entries(change, task=name, args=[], jitter=50)
    [plain] = entries(change, task=name, args=[])
    ours, theirs = (backend().tick_message(each, AT).body for each in (entry, plain))
    assert ours != theirs


@task(expires=5)
def short_lived() -> None: ...


@pytest.mark.parametrize(
    ("enabled", "answer"),
    [
        (True, True),
        (False, False),
        (on, True),
        (off, False),
        ("tests.django.test_schedules.on", True),
        ("tests.django.test_schedules.flagged", False),
    ],
)
def test_an_entry_can_be_switched_off(enabled: Any, answer: bool, change: Change) -> None:
    [entry] = entries(change, enabled=enabled)
    assert entry.enabled is answer
    assert (assemble(scheduler=True)._cron is not None) is answer


def test_a_function_is_asked_at_each_start(change: Change) -> None:
    change(VTASKS_SCHEDULE={"x": ENTRY | {"enabled": flagged}})
    assert assemble(scheduler=True)._cron is None
    sample.SEEN.append("on")
    assert assemble(scheduler=True)._cron is not None


@pytest.mark.parametrize(
    ("enabled", "problem"),
    [
        (unsure, r"\['enabled'\] came to a str; it must come to True or False"),
        ("tests.django.nowhere.on", r"\['enabled'\] is 'tests\.django\.nowhere\.on': No module"),
        ("tests.django.sample.SEEN", r"\['enabled'\] came to a list"),
        ("yes", r"\['enabled'\]: 'yes' is no switch; use True or False"),
    ],
)
def test_what_is_no_switch_is_an_error(enabled: Any, problem: str, change: Change) -> None:
    change(VTASKS_SCHEDULE={"x": ENTRY | {"enabled": enabled}})
    with pytest.raises(ConfigurationError, match=rf"^VTASKS_SCHEDULE\['x'\]{problem}"):
        assemble(scheduler=True)
    assert "vtasks_asgi.E002" in [found.id for found in run_checks()]


def test_what_is_switched_off_is_checked_all_the_same(change: Change) -> None:
    change(VTASKS_SCHEDULE={"x": {"task": "no.such", "schedule": 60, "enabled": False}})
    [found] = [each for each in run_checks() if each.id == "vtasks_asgi.E002"]
    assert "is 'no.such', which is not a registered task" in found.msg
