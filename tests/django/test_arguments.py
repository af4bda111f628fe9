"""Calls that no longer fit their function, and tasks that this release does not know."""

import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.tasks import TaskResultStatus
from django.utils import timezone

from tests.django import sample
from tests.django.helpers import SYNC_AND_ASYNC, AnyResult, done, run, working
from vtasks_asgi import VTaskContext, task
from vtasks_asgi.core.envelope import decode, encode
from vtasks_asgi.db.models import DeadLetter, Message
from vtasks_asgi.runtime.events import Listener, hub
from vtasks_asgi.store.base import Claim


def rewrite(result: AnyResult, change: Callable[[Any], None]) -> None:
    """As if it had been enqueued by another release."""
    message = Message.objects.get(uid=result.id)
    call = decode(bytes(message.body))
    change(call)
    Message.objects.filter(uid=result.id).update(body=encode(call))


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@task
@wrapped
def decorated(number: int) -> int:
    return number


@task(takes_context=True)
def contextual(context: VTaskContext, number: int) -> int:
    return number


@task(max_attempts=2, backoff=sample.AT_ONCE)
def confused(kind: str) -> Any:
    if kind == "inside":
        return sample.add.func(1, 2, 3, 4)
    raise TypeError("confused() got an unexpected keyword argument 'old'")


@task(max_attempts=2, backoff=sample.AT_ONCE)
async def aconfused(kind: str) -> Any:
    return confused.func(kind)


class TestArgumentsThatDoNotFit:
    @SYNC_AND_ASYNC
    @pytest.mark.parametrize(
        ("args", "kwargs", "told"),
        [
            ([1], {"removed": 2}, "unexpected keyword argument 'removed'"),
            ([1, 2, 3], {}, "takes from 1 to 2 positional arguments but 3 were given"),
            ([], {"b": 1}, "missing 1 required positional argument: 'a'"),
        ],
    )
    def test_are_a_dead_letter_at_once(
        self, kind: str, args: list[Any], kwargs: dict[str, Any], told: str
    ) -> None:
        result = getattr(sample, f"{kind}add").enqueue(1)
        rewrite(result, lambda call: vars_of(call, args, kwargs))
        done(result)
        assert (result.status, result.reason) == (TaskResultStatus.FAILED, "arguments")
        assert result.attempts == 1, "nothing would come of trying again"
        [error] = result.errors
        assert error.exception_class is TypeError
        assert told in error.traceback
        assert DeadLetter.objects.get().reason == "arguments"

    @pytest.mark.parametrize("of", [decorated, contextual], ids=["decorated", "contextual"])
    def test_also_of_other_functions(self, of: Any) -> None:
        result = of.enqueue(1)
        rewrite(result, lambda call: vars_of(call, [1], {"removed": 2}))
        assert done(result).reason == "arguments"

    @SYNC_AND_ASYNC
    @pytest.mark.parametrize("where", ["inside", "raised"])
    def test_are_not_confused_with_an_error_of_the_task(self, kind: str, where: str) -> None:
        result = (aconfused if kind else confused).enqueue(where)
        run(2)
        result.refresh()
        assert (result.reason, result.attempts) == ("max_attempts", 2)

    def test_that_are_default_ones_by_now_fit(self) -> None:
        result = sample.add.enqueue(1, b=2)
        rewrite(result, lambda call: vars_of(call, [1], {}))
        assert done(result).return_value == 1


def vars_of(call: Any, args: list[Any], kwargs: dict[str, Any]) -> None:
    call.args, call.kwargs = args, kwargs


class Parked(Listener):
    def __init__(self) -> None:
        self.told: list[tuple[str, float]] = []
        self.heard = threading.Event()

    def parked(self, claim: Claim, task: str, seconds: float) -> None:
        self.told.append((task, seconds))
        self.heard.set()


class TestUnknownTasks:
    @pytest.mark.parametrize(
        ("age", "pause"),
        [(0.0, 10.0), (60.0, 60.0), (3 * 3600.0, 3 * 3600.0), (40 * 3600.0, 24 * 3600.0)],
    )
    def test_wait_as_long_as_they_have_waited(self, age: float, pause: float) -> None:
        result, neighbour = sample.add.enqueue(1), sample.add.enqueue(2)

        def change(call: Any) -> None:
            call.task, call.enqueued_at = "a.newer.release", call.enqueued_at - age

        rewrite(result, change)
        parked, began = Parked(), timezone.now().timestamp()
        hub.add(parked)
        try:
            with working() as worker:
                worker.ear.wait(1)
        finally:
            hub.remove(parked)
        neighbour.refresh()
        assert neighbour.is_finished
        [(name, seconds)] = parked.told
        assert name == "a.newer.release"
        assert seconds == pytest.approx(pause, rel=0.1)
        message = Message.objects.get()
        assert message.run_at is not None
        assert message.run_at > began + 0.9 * pause
        assert message.run_at < timezone.now().timestamp() + 1.1 * pause
        assert (message.state, message.attempt) == (Message.State.DELAYED, 0)

    def test_run_when_somebody_knows_them(self) -> None:
        result = sample.add.enqueue(1)
        rewrite(result, lambda call: setattr(call, "task", "a.newer.release"))
        parked = Parked()
        hub.add(parked)
        try:
            with working():
                assert parked.heard.wait(20.0)
        finally:
            hub.remove(parked)
        rewrite(result, lambda call: setattr(call, "task", sample.add.module_path))
        Message.objects.update(run_at=0.0)
        assert done(result).return_value == 1
        assert result.attempts == 1
