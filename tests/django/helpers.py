"""A worker in the test's own process, and words for what tests of Django's side do all the time."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from vtasks_asgi import VTaskResult
from vtasks_asgi.assembly import assemble
from vtasks_asgi.core.outcome import Dead, Outcome
from vtasks_asgi.db.models import DeadLetter, Message, Result
from vtasks_asgi.runtime.active import current
from vtasks_asgi.runtime.events import Listener, hub
from vtasks_asgi.runtime.runtime import Runtime
from vtasks_asgi.store.base import Claim

#: Seconds after which a wait for something that must happen gives up.
PATIENCE = 20.0

type AnyResult = VTaskResult[..., Any]


class Ear(Listener):
    """Counts runs that ended, from any thread."""

    def __init__(self) -> None:
        self._heard = threading.Condition()
        self.outcomes: list[tuple[str, Outcome]] = []
        self.started_count = 0
        self._open = threading.Event()

    def claimed(self, queue: str, claims: Sequence[Claim]) -> None:
        self._open.set()

    def wait_open(self) -> None:
        if not self._open.wait(PATIENCE):
            raise TimeoutError("the worker asked for nothing")

    def started(self, claim: Claim, task: str, waited: float) -> None:
        with self._heard:
            self.started_count += 1
            self._heard.notify_all()

    def finished(self, claim: Claim, task: str, outcome: Outcome, seconds: float) -> None:
        self._hear(task, outcome)

    def given_up(self, claim: Claim, task: str, outcome: Dead) -> None:
        self._hear(task, outcome)

    def _hear(self, task: str, outcome: Outcome) -> None:
        with self._heard:
            self.outcomes.append((task, outcome))
            self._heard.notify_all()

    def wait(self, count: int) -> None:
        with self._heard:
            if not self._heard.wait_for(lambda: len(self.outcomes) >= count, PATIENCE):
                raise TimeoutError(f"{len(self.outcomes)} of {count} runs ended")

    def wait_started(self, count: int) -> None:
        with self._heard:
            if not self._heard.wait_for(lambda: self.started_count >= count, PATIENCE):
                raise TimeoutError(f"{self.started_count} of {count} runs began")


class Working:
    """A runtime that lives in a thread."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.ear = Ear()
        self.error: BaseException | None = None

    def live(self) -> None:
        try:
            asyncio.run(self.runtime.run())
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.error = error


@contextmanager
def working(**options: Any) -> Iterator[Working]:
    """A worker assembled from the settings, alive for the body's duration.

    When the body is left, everything that was claimed has been settled.
    """
    chosen: dict[str, Any] = {"scheduler": False, "worker": "me"}
    it = Working(assemble(**(chosen | options)))
    hub.add(it.ear)
    thread = threading.Thread(target=it.live, name="test-worker")
    thread.start()
    try:
        yield it
    finally:
        it.runtime.close()
        thread.join(PATIENCE)
        hub.remove(it.ear)
        assert not thread.is_alive(), "the worker did not end"
        assert it.error is None, f"the worker died: {it.error!r}"


def run(count: int, **options: Any) -> list[tuple[str, Outcome]]:
    """Work until so many runs have ended and are settled; what became of each."""
    with working(**options) as it:
        it.ear.wait(count)
    return it.ear.outcomes


def done(result: AnyResult, **options: Any) -> AnyResult:
    """Run the one message there is, and give its refreshed result."""
    run(1, **options)
    result.refresh()
    return result


def refreshed(*results: AnyResult) -> list[AnyResult]:
    for result in results:
        result.refresh()
    return list(results)


def rows() -> dict[str, int]:
    """How many messages there are in each table."""
    return {
        "messages": Message.objects.count(),
        "results": Result.objects.count(),
        "dead": DeadLetter.objects.count(),
    }


arows = sync_to_async(rows)


def stored(results: Sequence[AnyResult | None]) -> list[AnyResult]:
    """All of them, none having been refused as a duplicate."""
    assert None not in results
    return [result for result in results if result is not None]


#: Runs a test for ``task`` and again for ``atask``.
SYNC_AND_ASYNC = pytest.mark.parametrize("kind", ["", "a"], ids=["sync", "async"])

NO_ROWS = {"messages": 0, "results": 0, "dead": 0}


class Round(Listener):
    """Sets an event of this loop once a fetcher has asked its queue."""

    def __init__(self) -> None:
        self.done = asyncio.Event()

    def claimed(self, queue: str, claims: Sequence[Claim]) -> None:
        self.done.set()


@asynccontextmanager
async def embedded(**options: Any) -> AsyncIterator[Runtime]:
    """A worker in the caller's own loop and context, as a request finds it."""
    chosen: dict[str, Any] = {"scheduler": False, "worker": "me"}
    runtime = assemble(**(chosen | options))
    first = Round()
    hub.add(first)
    life = asyncio.create_task(runtime.run())
    token = current.set(runtime)
    try:
        async with asyncio.timeout(PATIENCE):
            await first.done.wait()
        yield runtime
    finally:
        current.reset(token)
        hub.remove(first)
        runtime.close()
        async with asyncio.timeout(PATIENCE):
            await life
