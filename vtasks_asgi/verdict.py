"""What becomes of a run that raised, or was lost: its task's policy, and what is no policy's."""

import inspect
import random
from functools import partial
from types import TracebackType
from typing import Any

from vtasks_asgi import registry
from vtasks_asgi.core import outcome as outcomes
from vtasks_asgi.core import retry
from vtasks_asgi.core.envelope import task_of
from vtasks_asgi.core.errors import ResultUnserialisable, WorkerLost
from vtasks_asgi.core.outcome import Attempt, Dead, Retry, dump_history
from vtasks_asgi.core.retry import RetryPolicy
from vtasks_asgi.run import Run, blame
from vtasks_asgi.store.base import Claim


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
        cancelled=run.cancelled,
    )
    try:
        return decide(policy, history=dump_history(run.attempts))
    except Exception as fault:  # noqa: BLE001 - the task's own backoff function; told in its errors
        blame(run.attempts[-1], fault)
        plain = RetryPolicy(policy.max_attempts)
        return decide(plain, history=dump_history(run.attempts))


def after_loss(claim: Claim, max_rescues: int, now: float) -> Retry | Dead:
    """Of a claim taken over from a worker that vanished; ``max_rescues`` unless its task says."""
    attempts = outcomes.load_history(claim.history)
    lost = Attempt(claim.lost_worker or "unknown", claim.lost_at or now)
    blame(lost, WorkerLost("the worker vanished, or its lease ran out"))
    attempts.append(lost)
    known = registry.find(task_of(claim.body))
    own = known.task.max_rescues if known else None
    return retry.after_crash(
        max_rescues if own is None else own,
        crashes=claim.crashes,
        history=dump_history(attempts),
        random=random.random,
        cancelled=claim.cancelled,
    )


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
