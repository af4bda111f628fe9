"""A batch whose messages are taken away meanwhile, or that is cancelled: the invoker by itself."""

import asyncio
import contextvars
from collections.abc import Iterator
from typing import Any

import pytest
from django.tasks.signals import task_finished, task_started

from tests.django.batch_tasks import ANSWER, CALLS, Items, aload
from tests.django.test_signals import Connect, connect
from tests.runtime.helpers import Recorder, turns
from vtasks_asgi.backends.database import DatabaseTaskBackend
from vtasks_asgi.batches import BatchInvoker
from vtasks_asgi.core.batch import Batch
from vtasks_asgi.core.envelope import Call, encode
from vtasks_asgi.core.outcome import Done, Outcome, Release
from vtasks_asgi.runtime import slices
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.store.base import Claim

__all__ = ["connect"]


class Hand:
    """Claims in hand, but for those somebody has taken over."""

    def __init__(self) -> None:
        self.lost: set[str] = set()
        self.outcomes: dict[str, Outcome] = {}

    def holds(self, claim: Claim) -> bool:
        return claim.id not in self.lost and claim.id not in self.outcomes

    def decide(self, claim: Claim, outcome: Outcome) -> None:
        if self.holds(claim):
            self.outcomes[claim.id] = outcome


class Scene:
    """An invoker, a hand, and four claims."""

    def __init__(self) -> None:
        CALLS.clear()
        self.hand, self.told = Hand(), Recorder()
        self.claims = [claim(number) for number in range(4)]
        self.invoker = BatchInvoker(
            alias="default",
            sender=DatabaseTaskBackend,
            worker="me",
            events=Events([self.told]),
            result_ttl=60.0,
            max_rescues=3,
            max_result=1000,
        )

    def start(self) -> "asyncio.Task[Outcome]":
        work = self.invoker.batch(Batch(10, 1.0), self.claims, self.hand)
        context = self.invoker.context(contextvars.copy_context())
        return asyncio.create_task(work, context=context)

    @property
    def ended(self) -> dict[str, type]:
        """What listeners were told of each message; each is told of once."""
        assert len({args[0].id for args in self.told.all("finished")}) == 4
        return {args[0].id: type(args[2]) for args in self.told.all("finished")}


@pytest.fixture
def scene() -> Iterator[Scene]:
    it = Scene()
    yield it
    it.invoker.close()


def claim(number: int) -> Claim:
    body = encode(Call(aload.module_path, [], {"number": number}, 0.0))
    return Claim(str(number), "b", body, 0, f"token {number}", 1)


async def test_what_is_lost_while_the_function_runs_is_not_told_as_done(
    scene: Scene, connect: Connect
) -> None:
    heard: list[str] = []

    def hear(task_result: Any, **kwargs: Any) -> None:
        heard.append(task_result.id)

    connect(task_finished, hear)
    ANSWER[:] = [lambda items: scene.hand.lost.add("2")]
    await scene.start()
    assert {id: type(outcome) for id, outcome in scene.hand.outcomes.items()} == {
        "0": Done,
        "1": Done,
        "3": Done,
    }
    assert scene.ended == {"0": Done, "1": Done, "2": Release, "3": Done}
    assert sorted(heard) == ["0", "1", "3"]


async def test_what_is_lost_is_not_among_the_halves(scene: Scene) -> None:
    def work(items: Items) -> None:
        if len(items) == 4:
            scene.hand.lost.add("2")
            raise ValueError

    ANSWER[:] = [work]
    await scene.start()
    assert [[item["id"] for item in items] for items in CALLS] == [
        ["0", "1", "2", "3"],
        ["0", "1"],
        ["3"],
    ]
    assert sorted(scene.hand.outcomes) == ["0", "1", "3"]
    assert scene.ended["2"] is Release


async def test_a_batch_that_is_cancelled_ends_there_and_decides_nothing(scene: Scene) -> None:
    waiting = asyncio.Event()

    async def wait(items: Items) -> None:
        waiting.set()
        await asyncio.Event().wait()

    ANSWER[:] = [lambda items: None]
    function = aload.func
    object.__setattr__(aload, "func", wait)
    try:
        running = scene.start()
        await waiting.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    finally:
        object.__setattr__(aload, "func", function)
    assert scene.hand.outcomes == {}
    assert set(scene.ended.values()) == {Release}
    [ended] = scene.told.all("batch_ended")
    assert ended[2] == 4


async def test_one_cancelled_before_it_begins_tells_the_end_of_every_start(
    scene: Scene, connect: Connect
) -> None:
    async def hang(**kwargs: Any) -> None:
        await asyncio.Event().wait()

    connect(task_started, hang)
    running = scene.start()
    await turns()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(scene.told.all("started")) == 4
    assert set(scene.ended.values()) == {Release}
    assert CALLS == []


async def test_a_large_batch_gives_the_loop_its_turns(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "TIME_SLICE", -1.0)  # each step takes longer than that
    count = [0]

    async def others() -> None:
        while True:
            count[0] += 1
            await asyncio.sleep(0)

    ANSWER[:] = [lambda items: seen.append(count[0])]
    seen: list[int] = []
    beside = asyncio.create_task(others())
    await scene.start()
    beside.cancel()
    assert seen[0] >= 4, "while they are prepared"
    assert count[0] - seen[0] >= 4, "while their outcomes are told"
