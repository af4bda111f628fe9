"""Which errors are worth another attempt, how long it waits, and what a task says itself."""

import math
import sys
from types import ModuleType
from typing import Any

import pytest

from vtasks_asgi.core.errors import DiscardTask, RetryTask, TaskTimeout
from vtasks_asgi.core.outcome import DISCARDED, EXHAUSTED, NOT_RETRYABLE, Dead, Retry
from vtasks_asgi.core.retry import Backoff, Kinds, RetryPolicy, after_failure

HISTORY = b"history"
ONE_SECOND = Backoff(base=1, factor=1, maximum=1, jitter=0)


class Broken(ConnectionError): ...


def outcome(policy: RetryPolicy, error: BaseException, attempt: int = 1) -> Retry | Dead:
    return after_failure(
        policy, error=error, attempt=attempt, crashes=0, history=HISTORY, random=lambda: 0.5
    )


def retried(error: BaseException, **policy: Any) -> bool:
    outcome_ = outcome(RetryPolicy(backoff=ONE_SECOND, **policy), error)
    assert outcome_ in (Retry(HISTORY, 1.0), Dead(HISTORY, NOT_RETRYABLE))
    return isinstance(outcome_, Retry)


@pytest.mark.parametrize(
    ("retry_on", "dont_retry_on", "expected"),
    [
        (None, (), True),
        ((), (), False),
        ((Broken,), (), True),
        ((OSError,), (), True),
        ((KeyError, OSError), (), True),
        ((KeyError,), (), False),
        (None, (OSError,), False),
        (None, (KeyError,), True),
        ((Broken,), (OSError,), False),
        (("builtins.OSError",), (), True),
        (("builtins.KeyError",), (), False),
        (None, (f"{__name__}.Broken",), False),
        (None, ("builtins.KeyError", "builtins.ConnectionError"), False),
    ],
)
def test_only_what_is_asked_for_is_tried_again(
    retry_on: Kinds | None, dont_retry_on: Kinds, expected: bool
) -> None:
    assert retried(Broken(), retry_on=retry_on, dont_retry_on=dont_retry_on) is expected


def test_a_path_may_be_another_name_of_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    client = ModuleType("some_client")
    client.Error = Broken  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "some_client", client)
    assert retried(Broken(), retry_on=("some_client.Error",))


@pytest.mark.parametrize("path", ["not_loaded.Error", "sys.path", "sys.nothing", "plain", ""])
def test_a_path_that_leads_nowhere_is_no_errors_kind(path: str) -> None:
    assert not retried(Broken(), retry_on=(path,))
    assert retried(Broken(), dont_retry_on=(path,))


def test_a_time_limit_is_an_error_like_any_other() -> None:
    assert retried(TaskTimeout("late"))
    assert retried(TaskTimeout("late"), retry_on=(TimeoutError,))
    assert not retried(TaskTimeout("late"), retry_on=(OSError,), dont_retry_on=(TimeoutError,))
    assert not retried(TaskTimeout("late"), dont_retry_on=("vtasks_asgi.core.errors.TaskTimeout",))


def test_what_is_not_worth_it_is_told_so_even_at_the_last_attempt() -> None:
    policy = RetryPolicy(max_attempts=1, dont_retry_on=(KeyError,))
    assert outcome(policy, KeyError()) == Dead(HISTORY, NOT_RETRYABLE)
    assert outcome(policy, ValueError()) == Dead(HISTORY, EXHAUSTED)


def test_a_task_may_ask_for_another_attempt_whatever_the_policy_says() -> None:
    policy = RetryPolicy(backoff=ONE_SECOND, retry_on=(), dont_retry_on=(Exception,))
    assert outcome(policy, RetryTask(delay=7.5)) == Retry(HISTORY, 7.5)
    assert outcome(policy, RetryTask(delay=0)) == Retry(HISTORY, 0)
    assert outcome(policy, RetryTask("not yet")) == Retry(HISTORY, 1.0)


def test_asking_for_another_attempt_uses_one_up() -> None:
    policy = RetryPolicy(max_attempts=2)
    assert isinstance(outcome(policy, RetryTask(delay=1), attempt=1), Retry)
    assert outcome(policy, RetryTask(delay=1), attempt=2) == Dead(HISTORY, EXHAUSTED)


@pytest.mark.parametrize("delay", [-1, -0.1, math.inf, math.nan, "5", True])
def test_a_delay_that_makes_no_sense(delay: Any) -> None:
    with pytest.raises(ValueError, match=r"delay is .*; it must be seconds, 0 or more"):
        RetryTask(delay=delay)


def test_a_task_may_give_up_at_once() -> None:
    policy = RetryPolicy(max_attempts=9, retry_on=(DiscardTask,))
    assert outcome(policy, DiscardTask("the user is gone")) == Dead(HISTORY, DISCARDED)
    assert str(DiscardTask("the user is gone")) == "the user is gone"
    assert str(DiscardTask()) == "the task discarded itself"
    assert str(RetryTask()) == "the task asked to be run again"


def test_waits_may_be_a_function_of_failures_and_error() -> None:
    asked: list[tuple[int, BaseException]] = []

    def backoff(attempt: int, error: BaseException) -> float:
        asked.append((attempt, error))
        return 10.0 * attempt

    error = ValueError()
    policy = RetryPolicy(max_attempts=9, backoff=backoff)
    assert outcome(policy, error, attempt=3) == Retry(HISTORY, 30.0)
    assert asked == [(3, error)]
    assert outcome(policy, RetryTask(delay=2.0)) == Retry(HISTORY, 2.0)


@pytest.mark.parametrize("seconds", [-1, None, "5", math.inf, math.nan, True])
def test_a_function_that_returns_no_seconds_is_an_error(seconds: Any) -> None:
    policy = RetryPolicy(backoff=lambda attempt, error: seconds)
    with pytest.raises(ValueError, match=r"backoff returned .*; it must return seconds"):
        outcome(policy, ValueError())
