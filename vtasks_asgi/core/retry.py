"""When to try again: exponential backoff with jitter, and two separate budgets.

Failures (the task raised) count against ``max_attempts``; crashes (the worker vanished) count
against ``max_rescues``. The first crash is rescued at once; from the second on the message waits
at least ``CRASH_PAUSE`` seconds, because a poison task must not kill a server faster than the
server's supervisor is willing to restart it. The waits are spread at random, for messages that one
crash took together would otherwise run, crash and be given up together.

A task may say itself what is to become of it, with ``RetryTask`` and ``DiscardTask``; its policy
says which other errors are worth another attempt, and how long to wait for it.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

from vtasks_asgi.core.errors import DiscardTask, RetryTask
from vtasks_asgi.core.outcome import (
    CANCELLED,
    DISCARDED,
    EXHAUSTED,
    NOT_RETRYABLE,
    WORKER_LOST,
    Dead,
    Retry,
)

DEFAULT_MAX_ATTEMPTS = 3
DEFAULT_MAX_RESCUES = 3
CRASH_PAUSE = 10.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds to wait before attempt n+1: ``base * factor**(n-1)``, at most ``maximum``.

    ``jitter`` is the share of the delay that is random: 0.5 gives 50-100 % of it ("equal jitter",
    AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
    """

    base: float = 5.0
    factor: float = 3.0
    maximum: float = 3600.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        if not (0 <= self.base <= self.maximum < math.inf and 1 <= self.factor < math.inf):
            raise ValueError(
                "backoff needs base >= 0, factor >= 1 and maximum >= base, all of them finite"
            )
        if not 0 <= self.jitter <= 1:
            raise ValueError("backoff jitter must be between 0 and 1")

    def delay(self, failures: int, random: Callable[[], float]) -> float:
        """The wait after the n-th failure (n from 1); ``random`` returns [0, 1)."""
        exponent = min(max(failures - 1, 0), 64)
        try:
            full = min(self.base * self.factor**exponent, self.maximum)
        except OverflowError:
            full = self.maximum if self.base else 0.0
        return full * (1 - self.jitter * random())


#: What a task gets that names no backoff: 2.5-5 s, 7.5-15 s, 22-45 s, ... up to an hour.
DEFAULT_BACKOFF = Backoff()


#: Waits by formula, or by a function of the number of failures so far and the last error.
type Waits = Backoff | Callable[[int, BaseException], float]
#: Exception classes, or dotted paths of some.
type Kinds = tuple[type[BaseException] | str, ...]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The two budgets of one task, its waits, and which errors are worth another attempt.

    ``retry_on`` None is every error; ``dont_retry_on`` has the last word.
    """

    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    max_rescues: int = DEFAULT_MAX_RESCUES
    backoff: Waits = DEFAULT_BACKOFF
    retry_on: Kinds | None = None
    dont_retry_on: Kinds = ()

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError("max_attempts must be at least 1")
        if self.max_rescues < 0:
            raise ValueError("max_rescues must be 0 or more")

    def retries(self, error: BaseException) -> bool:
        """Whether this error is worth another attempt, if there is one left."""
        if isinstance(error, RetryTask):
            return True
        wanted = self.retry_on is None or is_one_of(error, self.retry_on)
        return wanted and not is_one_of(error, self.dont_retry_on)

    def wait(self, error: BaseException, failures: int, random: Callable[[], float]) -> float:
        """Seconds from the n-th failure, which was ``error``, to the next attempt.

        Raises:
            Exception: the task's own function does, or does not return seconds (ValueError).
        """
        if isinstance(error, RetryTask) and error.delay is not None:
            return error.delay
        if isinstance(self.backoff, Backoff):
            return self.backoff.delay(failures, random)
        seconds = self.backoff(failures, error)
        if type(seconds) not in (int, float) or not 0 <= seconds < math.inf:
            raise ValueError(f"the task's backoff returned {seconds!r}; it must return seconds")
        return seconds


def is_one_of(error: BaseException, kinds: Kinds) -> bool:
    """Whether the error is of one of these kinds."""
    return any(isinstance(error, _class(kind)) for kind in kinds)


def _class(kind: type[BaseException] | str) -> type[BaseException] | tuple[()]:
    """The class behind a dotted path, if its module is loaded: else nothing can be one of it."""
    if not isinstance(kind, str):
        return kind
    module, _, name = kind.rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else ()


def after_failure(
    policy: RetryPolicy,
    *,
    error: BaseException,
    attempt: int,
    crashes: int,
    history: bytes,
    random: Callable[[], float],
    cancelled: bool = False,
) -> Retry | Dead:
    """The task raised ``error``. ``attempt`` counts every claim, crashed ones included."""
    failures = attempt - crashes
    if cancelled:
        return Dead(history, CANCELLED)
    if isinstance(error, DiscardTask):
        return Dead(history, DISCARDED)
    if not policy.retries(error):
        return Dead(history, NOT_RETRYABLE)
    if failures >= policy.max_attempts:
        return Dead(history, EXHAUSTED)
    return Retry(history, policy.wait(error, failures, random))


def after_crash(
    max_rescues: int,
    *,
    crashes: int,
    history: bytes,
    random: Callable[[], float] = lambda: 0.0,
    cancelled: bool = False,
) -> Retry | Dead:
    """The worker vanished for the ``crashes``-th time while it held the message.

    The wait is between the pause and its double, as ``random`` says, which returns [0, 1).
    """
    if cancelled:
        return Dead(history, CANCELLED)
    if crashes > max_rescues:
        return Dead(history, WORKER_LOST)
    if crashes <= 1:
        return Retry(history, 0.0)
    return Retry(history, CRASH_PAUSE * 2.0 ** min(crashes - 2, 10) * (1 + random()))
