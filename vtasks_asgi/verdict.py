"""What becomes of a run that raised: the policy of its task, and what no policy is asked about."""

import inspect
import random
from functools import partial
from types import TracebackType
from typing import Any

from vtasks_asgi.core import outcome as outcomes
from vtasks_asgi.core import retry
from vtasks_asgi.core.errors import ResultUnserialisable
from vtasks_asgi.core.outcome import Dead, Retry, dump_history
from vtasks_asgi.core.retry import RetryPolicy
from vtasks_asgi.run import Run, blame


def verdict(run: Run, error: BaseException) -> Retry | Dead:
    """Try again, or give up and why. ``error`` is recorded with the attempt already."""
    if isinstance(error, ResultUnserialisable):
        return Dead(dump_history(run.attempts), outcomes.RESULT_UNSERIALISABLE)
    if isinstance(error, TypeError) and _never_called(run, error):
        return Dead(dump_history(run.attempts), outcomes.ARGUMENTS)
    claim, policy = run.claim, run.known.task.policy
    decide = partial(
        retry.after_failure,
        error=error,
        attempt=claim.attempt,
        crashes=claim.crashes,
        random=random.random,
        cancelled=claim.cancelled,
    )
    try:
        return decide(policy, history=dump_history(run.attempts))
    except Exception as fault:  # noqa: BLE001 - the task's own backoff function; told in its errors
        blame(run.attempts[-1], fault)
        plain = RetryPolicy(policy.max_attempts)
        return decide(plain, history=dump_history(run.attempts))


def _never_called(run: Run, error: TypeError) -> bool:
    """Whether the function refused the arguments, as one that has other parameters by now does.

    Its own TypeErrors leave a frame of its in the traceback, and its arguments fit.
    """
    function = run.known.task.func
    arguments = [None, *run.call.args] if run.known.task.takes_context else run.call.args
    try:
        inspect.signature(function).bind(*arguments, **run.call.kwargs)
    except TypeError:
        return not _passed(error.__traceback__, inspect.unwrap(function))
    except ValueError:  # it has no signature to ask
        return False
    return False


def _passed(traceback: TracebackType | None, function: Any) -> bool:
    code = getattr(function, "__code__", None)
    while traceback is not None:
        if traceback.tb_frame.f_code is code:
            return True
        traceback = traceback.tb_next
    return False
