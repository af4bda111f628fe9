"""``@task``: options checked where they are written, with the fix in the error."""

import pickle
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import django.tasks
import pytest
from django import VERSION as DJANGO
from django.tasks.exceptions import InvalidTask, InvalidTaskBackend
from django.utils import timezone

import vtasks_asgi
from tests.django import sample
from tests.django.conftest import Change
from vtasks_asgi import Backoff, VTask, registry, task

if TYPE_CHECKING:
    from django.tasks import TaskContext


def function(number: int = 0) -> int:
    return number


async def coroutine_function() -> None: ...


def wants_context(context: "TaskContext[Any, Any]") -> None: ...


def test_defaults() -> None:
    made = task(function)
    assert (made.priority, made.queue_name, made.backend) == (0, "default", "default")
    assert (made.takes_context, made.run_after) == (False, None)
    assert (made.max_attempts, made.max_rescues, made.result_ttl) == (3, None, None)
    assert made.backoff == Backoff()
    assert made.name == "function"
    assert made.module_path == "tests.django.test_decorator.function"
    assert made.func is function


def test_every_option_arrives() -> None:
    backoff = Backoff(base=1.0, factor=2.0, maximum=60.0, jitter=0.0)
    made = task(priority=-100, max_attempts=1, backoff=backoff, max_rescues=0, result_ttl=0.5)(
        function
    )
    assert (made.priority, made.max_attempts, made.max_rescues) == (-100, 1, 0)
    assert (made.backoff, made.result_ttl) == (backoff, 0.5)
    assert (made.policy.max_attempts, made.policy.max_rescues) == (1, 0)
    assert made.policy.backoff == backoff


def test_with_and_without_parentheses_is_the_same() -> None:
    assert task(function) == task()(function)


async def test_a_task_can_still_be_called() -> None:
    assert await sample.add.acall(1, b=2) == 3
    assert await sample.aadd.acall(1, b=2) == 3


def test_also_without_a_loop() -> None:
    assert sample.add.call(1, b=2) == 3
    assert sample.aadd.call(1, b=2) == 3


def test_djangos_own_decorator_makes_tasks_of_ours() -> None:
    assert isinstance(sample.plain, VTask)
    assert sample.plain.max_attempts == 3


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_attempts": 0}, "max_attempts must be a whole number of at least 1"),
        ({"max_attempts": "3"}, "max_attempts must be a whole number of at least 1"),
        ({"max_attempts": 2.0}, "max_attempts must be a whole number of at least 1"),
        ({"max_attempts": True}, "max_attempts must be a whole number of at least 1"),
        ({"max_attempts": None}, "max_attempts must be a whole number of at least 1"),
        ({"max_rescues": -1}, "max_rescues must be a whole number of at least 0"),
        ({"max_rescues": "no"}, "max_rescues must be a whole number of at least 0"),
        ({"backoff": 5}, r"backoff must be a Backoff, such as Backoff\(base=5, factor=3\)"),
        ({"backoff": None}, "backoff must be a Backoff"),
        ({"result_ttl": -1}, "result_ttl must be a number of seconds, 0 to keep no result"),
        ({"result_ttl": "1h"}, "result_ttl must be a number of seconds"),
        ({"result_ttl": float("inf")}, "result_ttl must be a number of seconds"),
        ({"result_ttl": float("nan")}, "result_ttl must be a number of seconds"),
        ({"result_ttl": True}, "result_ttl must be a number of seconds"),
        ({"priority": 101}, "priority must be a whole number between -100 and 100"),
        ({"priority": -101}, "priority must be a whole number between -100 and 100"),
        ({"priority": "high"}, "priority must be a whole number between -100 and 100"),
        ({"priority": True}, "priority must be a whole number between -100 and 100"),
        ({"queue_name": "mial"}, r"Queue 'mial' is not valid .* add it to VTASKS_QUEUES"),
    ],
    ids=str,
)
def test_a_wrong_option_is_refused_and_the_fix_named(options: dict[str, Any], error: str) -> None:
    with pytest.raises(InvalidTask, match=error):
        task(**options)(function)


def test_an_option_of_ours_names_the_function_it_is_wrong_on() -> None:
    with pytest.raises(InvalidTask, match=r"^function: max_attempts"):
        task(max_attempts=0)(function)


@pytest.mark.parametrize("option", ["que", "run_after", "retries"])
def test_an_unknown_option_is_refused(option: str) -> None:
    with pytest.raises(TypeError, match=f"@task on function: .*{option}"):
        task(**{option: 1})(function)  # type: ignore[call-overload]


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(InvalidTaskBackend, match="nowhere"):
        task(backend="nowhere")(function)


NAMELESS = [lambda: None]


def nested() -> Callable[[], None]:
    def inner() -> None: ...

    return inner


def test_only_functions_of_a_module_can_be_tasks() -> None:
    with pytest.raises(InvalidTask, match="module level"):
        task(nested())
    with pytest.raises(InvalidTask, match="write a function with def"):
        task(NAMELESS[0])


@pytest.mark.parametrize("func", [function, coroutine_function])
def test_who_takes_the_context_has_it_as_first_argument(func: Callable[..., Any]) -> None:
    with pytest.raises(InvalidTask, match="first argument of 'context'"):
        task(takes_context=True)(func)


def test_context_comes_first() -> None:
    assert task(takes_context=True)(wants_context).takes_context


def test_using_changes_a_copy_and_nothing_else() -> None:
    when = timezone.now()
    made = task(max_attempts=7, result_ttl=5)(function)
    copy = made.using(priority=9, run_after=when, result_ttl=0)
    assert (copy.priority, copy.run_after, copy.result_ttl) == (9, when, 0)
    assert (copy.max_attempts, copy.func) == (7, function)
    assert (made.priority, made.run_after, made.result_ttl) == (0, None, 5)
    assert copy.using().priority == 9
    known = registry.find(made.module_path)
    assert known is not None
    assert known.task is not copy


def test_using_is_checked_as_the_decorator_is() -> None:
    with pytest.raises(InvalidTask, match="Queue 'mial'"):
        sample.add.using(queue_name="mial")
    with pytest.raises(InvalidTask, match="priority"):
        sample.add.using(priority=1000)
    with pytest.raises(InvalidTask, match="run_after must be an aware datetime"):
        sample.add.using(run_after=datetime(2030, 1, 1))
    with pytest.raises(InvalidTask, match="result_ttl"):
        sample.add.using(result_ttl=-1)


def test_a_naive_run_after_is_right_where_the_project_is_naive(change: Change) -> None:
    change(USE_TZ=False, TIME_ZONE="Europe/Berlin")
    when = datetime.now() + timedelta(hours=1)
    assert sample.add.using(run_after=when).run_after == when


def test_tasks_are_registered_where_they_are_decorated() -> None:
    known = registry.find("tests.django.sample.add")
    assert known is not None
    assert (known.task, known.name, known.is_async) == (
        sample.add,
        "tests.django.sample.add",
        False,
    )
    plain = registry.find("tests.django.sample.aplain")
    assert plain is not None
    assert plain.is_async
    assert registry.find("tests.django.sample.nothing") is None
    assert "tests.django.sample.aadd" in set(registry.names())


def test_a_module_read_again_replaces_its_tasks() -> None:
    def fresh() -> None: ...

    fresh.__qualname__ = "renewed"
    first = task(fresh)

    def again() -> None: ...

    again.__qualname__ = "renewed"
    second = task(again)
    known = registry.find(first.module_path)
    assert known is not None
    assert known.task is second


@pytest.mark.skipif(DJANGO < (6, 1), reason="tasks can be pickled since Django 6.1")
def test_tasks_can_be_pickled() -> None:
    used = sample.brief.using(priority=3)
    assert pickle.loads(pickle.dumps(used)) == used


def test_the_package_offers_what_it_says() -> None:
    for name in vtasks_asgi.__all__:
        assert getattr(vtasks_asgi, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = vtasks_asgi.nothing
    assert django.tasks.task is not task
