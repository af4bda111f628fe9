"""Django's three signals: true results for whoever listens, no work when nobody does."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django import VERSION as DJANGO
from django.contrib.auth.models import Group
from django.dispatch import Signal
from django.tasks.signals import task_enqueued, task_finished, task_started

from tests.django import sample
from tests.django.helpers import SYNC_AND_ASYNC, AnyResult, done, embedded, run
from vtasks_asgi import results
from vtasks_asgi.backends.database import DatabaseTaskBackend

SIGNALS = {"enqueued": task_enqueued, "started": task_started, "finished": task_finished}

type Snapshot = dict[str, Any]
type Connect = Callable[[Signal, Callable[..., Any]], None]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """``connect(signal, receiver)`` until the end of the test."""
    with ExitStack() as stack:

        def connect(signal: Signal, receiver: Callable[..., Any]) -> None:
            signal.connect(receiver, weak=False)
            stack.callback(signal.disconnect, receiver)

        yield connect


class Heard:
    """A receiver for all three that keeps what each result said at that moment."""

    def __init__(self, connect: Connect, *, coroutine: bool = False) -> None:
        self.told: list[tuple[str, Snapshot]] = []
        self.senders: set[object] = set()
        for name, signal in SIGNALS.items():
            connect(signal, self._areceiver(name) if coroutine else self._receiver(name))

    def _receiver(self, name: str) -> Callable[..., None]:
        def receive(sender: object, task_result: AnyResult, **kwargs: Any) -> None:
            self.senders.add(sender)
            self.told.append((name, snapshot(task_result)))

        return receive

    def _areceiver(self, name: str) -> Callable[..., Any]:
        receive = self._receiver(name)

        async def areceive(sender: object, task_result: AnyResult, **kwargs: Any) -> None:
            receive(sender, task_result)

        return areceive

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.told]

    def only(self, name: str) -> Snapshot:
        [snapshot] = [snapshot for told, snapshot in self.told if told == name]
        return snapshot


def snapshot(result: AnyResult) -> Snapshot:
    return {
        "id": result.id,
        "task": result.task.module_path,
        "status": str(result.status),
        "args": result.args,
        "worker_ids": list(result.worker_ids),
        "started": result.started_at is not None,
        "finished": result.finished_at is not None,
        "errors": [error.exception_class_path for error in result.errors],
        "value": result.return_value if result.status == "SUCCESSFUL" else None,
        "thread": threading.current_thread().name,
    }


@pytest.mark.parametrize("coroutine", [False, True], ids=["receiver", "coroutine receiver"])
@SYNC_AND_ASYNC
def test_all_three_are_sent_with_the_truth(connect: Connect, kind: str, coroutine: bool) -> None:
    heard = Heard(connect, coroutine=coroutine)
    result = getattr(sample, f"{kind}add").enqueue(1, 2)
    run(1)
    assert heard.names == ["enqueued", "started", "finished"]
    assert heard.senders == {DatabaseTaskBackend}
    assert {snapshot["id"] for _, snapshot in heard.told} == {result.id}
    enqueued, started, finished = (snapshot for _, snapshot in heard.told)
    assert (enqueued["status"], enqueued["args"], enqueued["started"]) == ("READY", [1, 2], False)
    assert (started["status"], started["worker_ids"]) == ("RUNNING", ["me"])
    assert (started["started"], started["finished"]) == (True, False)
    assert (finished["status"], finished["value"]) == ("SUCCESSFUL", 3)
    assert (finished["finished"], finished["errors"]) == (True, [])


async def test_aenqueue_sends_as_well(connect: Connect) -> None:
    heard, acoroutine = Heard(connect), Heard(connect, coroutine=True)
    result = await sample.aadd.aenqueue(1)
    async with embedded():
        await sample.aadd.aenqueue(2)
    assert heard.told[0][1]["id"] == result.id
    assert heard.names.count("enqueued") == acoroutine.names.count("enqueued") == 2


def test_receivers_run_where_they_may_use_the_database(connect: Connect) -> None:
    def receive(**kwargs: Any) -> None:
        Group.objects.create(name="from a receiver")

    connect(task_finished, receive)
    sample.anote.enqueue(1)
    run(1)
    assert Group.objects.count() == 1


async def test_async_receivers_may_too(connect: Connect) -> None:
    async def receive(**kwargs: Any) -> None:
        await Group.objects.acreate(name="from a receiver")

    connect(task_enqueued, receive)
    await sample.anote.aenqueue(1)
    assert await sync_to_async(Group.objects.count)() == 1


@SYNC_AND_ASYNC
def test_a_failure_is_told_once_after_the_last_attempt(connect: Connect, kind: str) -> None:
    heard = Heard(connect)
    result = done(getattr(sample, f"{kind}fails").enqueue())
    assert heard.names == ["enqueued", "started", "finished"]
    finished = heard.only("finished")
    assert (finished["status"], finished["errors"]) == ("FAILED", ["builtins.ValueError"])
    assert [error.exception_class_path for error in result.errors] == finished["errors"]


def test_a_retry_is_no_end(connect: Connect) -> None:
    heard = Heard(connect)
    sample.fails_thrice.enqueue()
    run(3)
    assert heard.names == ["enqueued", "started", "started", "started", "finished"]
    assert heard.only("finished")["errors"] == ["builtins.KeyError"] * 3


def test_a_success_after_failures_is_a_success(connect: Connect) -> None:
    heard = Heard(connect)
    sample.third_time_lucky.enqueue()
    run(3)
    finished = heard.only("finished")
    assert (finished["status"], finished["value"]) == ("SUCCESSFUL", "lucky")
    assert len(finished["errors"]) == 2
    assert len(finished["worker_ids"]) == 3


def test_a_return_value_is_told_as_it_will_be_found_later(connect: Connect) -> None:
    heard = Heard(connect)
    result = done(sample.pair.enqueue())
    assert result.return_value == heard.only("finished")["value"] == [1, {"a": [2]}]


def test_a_return_value_nobody_keeps_is_told_as_well(connect: Connect) -> None:
    heard = Heard(connect)
    sample.traceless.enqueue()
    run(1)
    assert heard.only("finished")["value"] == 1


def test_an_unserialisable_value_is_told_as_a_failure(connect: Connect) -> None:
    heard = Heard(connect)
    sample.unserialisable.enqueue()
    run(1)
    assert heard.only("finished")["status"] == "FAILED"


@pytest.mark.parametrize("coroutine", [False, True], ids=["receiver", "coroutine receiver"])
@pytest.mark.parametrize("name", SIGNALS)
def test_a_receiver_that_raises_harms_nobody(
    connect: Connect, name: str, coroutine: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**kwargs: Any) -> None:
        raise KeyError("broken receiver")

    async def abroken(**kwargs: Any) -> None:
        raise KeyError("broken receiver")

    connect(SIGNALS[name], abroken if coroutine else broken)
    heard = Heard(connect)
    results = [sample.add.enqueue(1, 1), sample.aadd.enqueue(2, 2)]
    run(2)
    for result in results:
        result.refresh()
    assert [result.return_value for result in results] == [2, 4]
    assert heard.names.count(name) == 2
    complaints = [r for r in caplog.records if r.name == "vtasks_asgi.signals"]
    assert len(complaints) == 2
    assert all("broken" in r.getMessage() and r.exc_info for r in complaints)


def test_django_logs_a_failure_with_its_exception(caplog: pytest.LogCaptureFixture) -> None:
    sample.afails.enqueue()
    run(1)
    [line] = [r for r in caplog.records if r.name == "django.tasks" and "FAILED" in r.message]
    assert line.levelno == logging.ERROR
    assert line.exc_info is not None
    assert line.exc_info[0] is ValueError


@pytest.mark.skipif(DJANGO < (6, 1), reason="Django 6.0 sends from a task of its own")
def test_also_when_others_listen(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    Heard(connect)
    sample.afails.enqueue()
    run(1)
    [line] = [r for r in caplog.records if r.name == "django.tasks" and "FAILED" in r.message]
    assert line.exc_info is not None
    assert line.exc_info[0] is ValueError


class TestNothingIsBuiltForNobody:
    """Beside Django's own receivers, which only log, nobody listens."""

    @pytest.fixture
    def built(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The status of every result the worker builds."""
        built: list[str] = []
        original = results.build

        def build(*args: Any) -> AnyResult:
            result = original(*args)
            built.append(str(result.status))
            return result

        monkeypatch.setattr(results, "build", build)
        return built

    @SYNC_AND_ASYNC
    def test_when_the_log_is_not_written_either(
        self, kind: str, built: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING, logger="django.tasks")
        getattr(sample, f"{kind}add").enqueue(1)
        run(1)
        assert built == []

    def test_but_a_failure_is_logged(
        self, built: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING, logger="django.tasks")
        sample.afails.enqueue()
        run(1)
        assert built == ["FAILED"]

    def test_and_a_receiver_gets_one(
        self, built: list[str], connect: Connect, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING, logger="django.tasks")
        connect(task_finished, lambda **kwargs: None)
        sample.aadd.enqueue(1)
        run(1)
        assert built == ["SUCCESSFUL"]

    def test_all_who_look_at_one_state_share_it(
        self, built: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger="django.tasks")
        sample.acontext_of.enqueue()
        run(1)
        assert built == ["RUNNING", "SUCCESSFUL"]
