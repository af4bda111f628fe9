"""A poison task took its neighbours with it: rescued together, they crashed together each time."""

from vtasks_asgi.core.outcome import Retry
from vtasks_asgi.core.retry import CRASH_PAUSE
from vtasks_asgi.invoke import Invoker
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.store.base import Claim


def test_messages_that_crashed_together_wait_differently() -> None:
    invoker = Invoker(
        alias="default",
        sender=object,
        worker="w",
        events=Events(),
        result_ttl=0,
        max_rescues=3,
        max_result=1,
    )
    claims = [Claim(str(n), "default", b"", 0, "token", 2, crashes=2) for n in range(20)]
    outcomes = [invoker.rescue(claim) for claim in claims]
    delays = [outcome.delay for outcome in outcomes if isinstance(outcome, Retry)]
    assert len(set(delays)) == 20
    assert all(CRASH_PAUSE <= delay < 2 * CRASH_PAUSE for delay in delays)
