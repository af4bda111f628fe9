"""``concurrency_limit``, ``rate_limit`` and ``limit_key``: what an enqueue makes of them."""

from typing import Any

import pytest
from django.db import transaction
from django.tasks import task_backends
from django.tasks.exceptions import InvalidTask

from tests.django import sample
from tests.django.conftest import EACH_DATABASE
from tests.django.helpers import run
from tests.django.unique_ways import EACH_WAY, Way, amany, many
from vtasks_asgi import task
from vtasks_asgi.backends.base import VTasksBackend
from vtasks_asgi.core.schedule import Entry, Every
from vtasks_asgi.core.unique import key_of_text
from vtasks_asgi.db.models import Message
from vtasks_asgi.invoke import Invoker
from vtasks_asgi.store.base import Claim

pytestmark = EACH_DATABASE


def function(number: int = 0) -> int:
    return number


@task(concurrency_limit=2, rate_limit="100/m", limit_key=lambda user, text="": f"user-{user}")
def mail(user: int, text: str = "") -> None:
    sample.SEEN.append([user, text])


limited = sample.note.using(concurrency_limit=1)

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"concurrency_limit": 0}, "concurrency_limit must be a whole number of at least 1"),
    ({"concurrency_limit": -1}, "concurrency_limit must be a whole number of at least 1"),
    ({"concurrency_limit": True}, "concurrency_limit must be a whole number of at least 1"),
    ({"concurrency_limit": 1.5}, "concurrency_limit must be a whole number of at least 1"),
    ({"concurrency_limit": "5"}, "concurrency_limit must be a whole number of at least 1"),
    ({"concurrency_limit": 2**31}, "concurrency_limit must be a whole number"),
    ({"rate_limit": 100}, 'rate_limit must be a text such as "100/m"'),
    ({"rate_limit": ""}, "rate_limit is '', but a rate is a number of starts per s, m, h or d"),
    ({"rate_limit": "100/min"}, "rate_limit is '100/min', but a rate is a number of starts"),
    ({"rate_limit": "0/s"}, "rate_limit is '0/s', but a rate is a number"),
    ({"rate_limit": "20000/s"}, "rate_limit is '20000/s', but a rate is at most 10000/s"),
    ({"concurrency_limit": 1, "limit_key": ""}, "limit_key must be a text, or a function"),
    ({"concurrency_limit": 1, "limit_key": 5}, "limit_key must be a text, or a function"),
    ({"limit_key": "x"}, "limit_key has no effect without a limit: add concurrency_limit=5 or"),
]


@pytest.mark.parametrize(("options", "error"), WRONG, ids=str)
def test_a_wrong_option_is_refused_and_the_fix_named(options: dict[str, Any], error: str) -> None:
    with pytest.raises(InvalidTask, match=f"function: {error}"):
        task(**options)(function)
    with pytest.raises(InvalidTask, match=error):
        sample.note.using(**options)


@EACH_WAY
def test_each_way_to_enqueue_gives_the_message_its_limits(way: Way) -> None:
    way(mail, 7)
    message = Message.objects.get()
    assert message.limit_key == key_of_text("user-7")
    assert message.limit_count == 2
    assert message.limit_interval == pytest.approx(0.6)


def test_the_key_is_the_tasks_name_unless_there_is_one() -> None:
    limited.enqueue(1)
    limited.using(limit_key="shared").enqueue(2)
    sample.note.using(rate_limit="1/h", limit_key=lambda value: f"k{value}").enqueue(3)
    sample.note.enqueue(4)
    found = [
        tuple(row)
        for row in Message.objects.order_by("seq").values_list(
            "limit_key", "limit_count", "limit_interval"
        )
    ]
    assert found == [
        (key_of_text(sample.note.module_path), 1, None),
        (key_of_text("shared"), 1, None),
        (key_of_text("k3"), None, 3600.0),
        (None, None, None),
    ]


@pytest.mark.parametrize("value", [None, "", 5])
def test_a_key_that_is_no_text_is_refused_at_the_enqueue(value: Any) -> None:
    keyed = limited.using(limit_key=lambda _: value)
    with pytest.raises(InvalidTask, match=r"its limit_key returned .*, not a text"):
        keyed.enqueue(1)
    assert not Message.objects.exists()


def test_the_tick_of_a_schedule_has_the_tasks_limits() -> None:
    backend = task_backends["default"]
    assert isinstance(backend, VTasksBackend)
    entry = Entry(name="mailing", task=mail.module_path, schedule=Every(60), args=(7,))
    message = backend.tick_message(entry, 60.0)
    assert message.limit is not None
    assert (message.limit.key, message.limit.concurrency) == (key_of_text("user-7"), 2)


@pytest.mark.parametrize("push", [many, amany], ids=["sync", "async"])
def test_a_worker_runs_all_of_a_bulk_and_never_more_than_allowed(
    push: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most = 0, 0
    started, finished = Invoker.__call__, Invoker._finished

    def begin(self: Invoker, claim: Claim) -> Any:
        nonlocal running, most
        if claim.limit is not None:
            running += 1
            most = max(most, running)
        return started(self, claim)

    def end(self: Invoker, run: Any, outcome: Any) -> None:
        nonlocal running
        if run.claim.limit is not None:
            running -= 1
        finished(self, run, outcome)

    monkeypatch.setattr(Invoker, "__call__", begin)
    monkeypatch.setattr(Invoker, "_finished", end)
    two = sample.note.using(concurrency_limit=2)
    push([(two, [number], {}) for number in range(12)] + [(sample.note, ["free"], {})])
    run(13)
    assert sorted(map(str, sample.SEEN)) == sorted([*map(str, range(12)), "free"])
    assert most == 2


def test_a_rollback_takes_the_message_and_leaves_no_trace() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        limited.enqueue(1)
        raise ZeroDivisionError
    limited.enqueue(2)
    limited.enqueue(3)
    run(2)
    assert sample.SEEN == [2, 3]
