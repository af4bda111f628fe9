"""What goes with a call: context variables by name; and what each run happens within."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.tasks import TaskResultStatus

from tests.django import asking, sample
from tests.django.conftest import Change
from tests.django.helpers import SYNC_AND_ASYNC, AnyResult, done, run
from vtasks_asgi.core.envelope import decode, encode
from vtasks_asgi.core.outcome import Dead, Done, Retry
from vtasks_asgi.db.models import Message

BOTH = ["tests.django.asking.TENANT", "tests.django.asking.LANGUAGE"]


@pytest.fixture
def tenant(change: Change) -> Iterator[None]:
    change(VTASKS_PROPAGATE=BOTH)
    token = asking.TENANT.set({"id": 7})
    yield
    asking.TENANT.reset(token)


def meta(result: AnyResult) -> dict[str, Any]:
    return decode(bytes(Message.objects.get(uid=result.id).body)).meta


class TestVariables:
    @SYNC_AND_ASYNC
    def test_are_set_where_the_task_runs(self, kind: str, tenant: None) -> None:
        result = getattr(asking, f"{kind}tells_variables").enqueue()
        assert meta(result) == {"vars": {BOTH[0]: {"id": 7}}}, "what is not set is not carried"
        assert done(result).return_value[:2] == [{"id": 7}, "en"]

    def test_of_one_call_are_not_seen_by_the_next(self, tenant: None) -> None:
        first = asking.tells_variables.enqueue()
        token = asking.TENANT.set(None)
        second = asking.tells_variables.enqueue()
        asking.TENANT.reset(token)
        run(2, concurrency=1)
        assert first.wait()[0] == {"id": 7}
        assert second.wait()[0] is None

    def test_that_nobody_asks_for_stay(self) -> None:
        token = asking.TENANT.set(7)
        result = asking.tells_variables.enqueue()
        asking.TENANT.reset(token)
        assert meta(result) == {}
        assert done(result).return_value == [None, "en"]

    def test_survive_a_retry(self, tenant: None) -> None:
        result = sample.fails_later.enqueue()
        run(1)
        assert meta(result) == {"vars": {BOTH[0]: {"id": 7}}}

    def test_json_cannot_carry_fail_before_anything_is_written(self, tenant: None) -> None:
        token = asking.TENANT.set(object())
        with pytest.raises(TypeError, match=rf"context variable {BOTH[0]} \(VTASKS_PROPAGATE\)"):
            asking.tells_variables.enqueue()
        asking.TENANT.reset(token)
        assert not Message.objects.exists()

    def test_a_message_names_and_the_settings_do_not_are_ignored(self, change: Change) -> None:
        change(VTASKS_PROPAGATE=BOTH[:1])
        result = asking.tells_variables.enqueue()
        call = decode(bytes(Message.objects.get().body))
        call.meta = {"vars": {"os.environ": 1, BOTH[0]: "good", BOTH[1]: "fr", "no.such": 2}}
        Message.objects.update(body=encode(call))
        assert done(result).return_value == ["good", "en"]

    @pytest.mark.parametrize("hostile", [{"vars": 5}, {"vars": None}, {"data": [1]}, {"x": 1}])
    def test_of_a_strange_shape_harm_nobody(self, hostile: dict[str, Any]) -> None:
        result = asking.tells_metadata.enqueue()
        call = decode(bytes(Message.objects.get().body))
        call.meta = hostile
        Message.objects.update(body=encode(call))
        assert done(result).return_value == {}


# -- the project's hook

HELD: list[Any] = []


@contextmanager
def around(**told: Any) -> Iterator[None]:
    HELD.append(("enter", told))
    asking.LANGUAGE.set("fr")
    try:
        yield
    except BaseException as error:
        HELD.append(("raised", type(error).__name__))
        raise
    finally:
        HELD.append("exit")


@contextmanager
def swallows(**told: Any) -> Iterator[None]:
    try:
        yield
    except ValueError:
        HELD.append("swallowed")


def fails_to_enter(**told: Any) -> AbstractContextManager[None]:
    raise LookupError("no such tenant")


@contextmanager
def fails_to_leave(**told: Any) -> Iterator[None]:
    yield
    raise LookupError("cannot leave")


@pytest.fixture
def hook(change: Change) -> Iterator[Change]:
    HELD.clear()

    def use(name: str) -> None:
        change(VTASKS_TASK_CONTEXT=f"{__name__}.{name}")

    yield use


class TestHook:
    @SYNC_AND_ASYNC
    def test_each_run_happens_within(self, kind: str, hook: Change) -> None:
        hook("around")
        result = getattr(asking, f"{kind}tells_variables").using(metadata={"m": 1}).enqueue()
        assert done(result).return_value[1] == "fr", "what it sets is set for the task"
        [(_, told), leave] = HELD
        assert leave == "exit"
        assert told == {
            "task_id": result.id,
            "task_ids": None,
            "name": f"tests.django.asking.{kind}tells_variables",
            "queue": "default",
            "attempt": 1,
            "metadata": {"m": 1},
        }

    @SYNC_AND_ASYNC
    def test_sees_what_the_task_raises(self, kind: str, hook: Change) -> None:
        hook("around")
        result = done(getattr(sample, f"{kind}fails").enqueue())
        assert HELD[1:] == [("raised", "ValueError"), "exit"]
        assert [error.exception_class for error in result.errors] == [ValueError]
        assert result.reason == "max_attempts"

    def test_cannot_swallow_it(self, hook: Change) -> None:
        hook("swallows")
        result = done(sample.fails.enqueue())
        assert (HELD, result.status) == (["swallowed"], TaskResultStatus.FAILED)

    def test_that_cannot_be_entered_fails_the_attempt(self, hook: Change) -> None:
        """Better than to run it for the wrong tenant."""
        hook("fails_to_enter")
        result = sample.note.using().enqueue(1)
        assert [type(outcome) for _, outcome in run(1)] == [Retry]
        result.refresh()
        assert sample.SEEN == []
        [error] = result.errors
        assert error.exception_class is LookupError
        assert "no such tenant" in error.traceback

    def test_that_cannot_be_left_fails_the_attempt(self, hook: Change) -> None:
        hook("fails_to_leave")
        result = sample.note.enqueue(1)
        assert [type(outcome) for _, outcome in run(1)] == [Retry]
        result.refresh()
        assert (sample.SEEN, result.status) == ([1], TaskResultStatus.READY)

    def test_is_left_when_a_run_is_cancelled(self, hook: Change, change: Change) -> None:
        from tests.django.helpers import working

        hook("around")
        change(VTASKS_DRAIN_TIMEOUT=0)
        sample.waits_on_loop.enqueue()
        with working():
            assert sample.MEETING.arrived.acquire(timeout=20.0)
        assert HELD[1:] == [("raised", "CancelledError"), "exit"]
        assert Message.objects.get().attempt == 0

    def test_is_there_in_tests_as_well(self, hook: Change, change: Change) -> None:
        hook("around")
        change(TASKS={"default": {"BACKEND": "vtasks_asgi.backends.immediate.ImmediateBackend"}})
        assert asking.tells_variables.enqueue().return_value == [None, "fr"]

    def test_costs_nothing_when_there_is_none(self) -> None:
        assert [type(o) for _, o in _ran(sample.add, sample.fails)] == [Done, Dead]


def _ran(*tasks: Any) -> list[tuple[str, Any]]:
    for task in tasks:
        task.enqueue(*([1] if task is sample.add else []))
    return sorted(run(len(tasks)), key=lambda told: told[0])
