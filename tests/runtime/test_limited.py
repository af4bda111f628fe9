"""Runs that have a limit: past it the lease is let go, and who does not end is left behind."""

import asyncio

import pytest

from tests.runtime.helpers import DONE, NOTHING, QUEUE, Scene, configured, turns
from vtasks_asgi.core.outcome import Dead, Outcome, Release
from vtasks_asgi.runtime import leases
from vtasks_asgi.runtime.config import PoolConfig
from vtasks_asgi.runtime.execute import FAULT_PAUSE, Executions
from vtasks_asgi.runtime.settled import Settled
from vtasks_asgi.store.base import Claim, State

LATE = Dead(NOTHING, "too late")


class Stubborn:
    """Work with a limit that goes on whatever happens, until it is let go."""

    def __init__(self, seconds: float = 0.01) -> None:
        self.seconds = seconds
        self.free = asyncio.Event()
        self.cancelled = 0
        self.scene: Scene | None = None
        self.fault: Exception | None = None

    @property
    def executions(self) -> Executions:
        assert self.scene is not None
        assert self.scene.runtime.executions is not None
        return self.scene.runtime.executions

    async def conclude(self) -> Outcome:
        if self.fault:
            raise self.fault
        return LATE

    async def __call__(self, claim: Claim) -> Outcome:
        with self.executions.limited(claim, self.seconds, self.conclude):
            while not self.free.is_set():
                try:
                    await self.free.wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
        return DONE


def scene_of(work: Stubborn) -> Scene:
    config = configured(PoolConfig((QUEUE,), 1), lease=10.0, reclaim_every=3600.0)
    work.scene = Scene(work, config=config)
    return work.scene


async def test_who_ends_in_time_is_settled_as_ever() -> None:
    work = Stubborn(seconds=3600.0)
    scene = scene_of(work)
    [id] = await scene.push()
    async with scene.alive():
        await scene.script.until_began()
        work.free.set()
        await scene.store.until_settled()
    assert (await scene.store.record(id)).state is State.DONE
    assert work.cancelled == 0


async def test_who_does_not_is_left_behind_and_has_no_say_any_more() -> None:
    work = Stubborn()
    scene = scene_of(work)
    [id, other] = await scene.push(2)
    async with scene.alive():
        await scene.store.until_settled()
        assert (await scene.store.record(id)).reason == "too late"
        await scene.script.until_began(2)
        assert scene.script.running == 2, "in one slot, for the first one's was given back"
        assert work.cancelled >= 1
        await scene.store.until_settled(2)
        work.free.set()
        await scene.script.until_ended(2)
        await turns()
    assert [len(batch) for batch in scene.store.settlements] == [1, 1]
    assert (await scene.store.record(other)).reason == "too late"


async def test_a_fault_of_ours_when_concluding_loses_no_message() -> None:
    work = Stubborn()
    work.fault = ValueError("a bug of ours")
    scene = scene_of(work)
    [id] = await scene.push()
    async with scene.alive():
        await scene.store.until_settled()
        work.free.set()
    record = await scene.store.record(id)
    assert (record.state, record.attempt) == (State.DELAYED, 0)
    assert record.run_at == scene.fake.now() + FAULT_PAUSE


async def test_a_lost_lease_comes_before_the_limit() -> None:
    work = Stubborn(seconds=0.05)
    scene = scene_of(work)
    await scene.push()
    async with scene.alive():
        await scene.script.until_began()
        work.executions.lose(scene.script.began)
        await asyncio.sleep(0.1)
        assert scene.store.settlements == []
        work.free.set()


async def test_a_stop_comes_before_the_limit() -> None:
    work = Stubborn(seconds=3600.0)
    scene = scene_of(work)
    [id] = await scene.push()
    async with scene.alive():
        await scene.script.until_began()
        scene.runtime.stop()
        await scene.store.until_settled()
        work.free.set()
    assert [each.outcome for each in scene.store.settlements[0]] == [Release()]
    assert (await scene.store.record(id)).attempt == 0


async def test_past_its_limit_no_lease_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that hangs cannot leave it behind; then the lease runs out, and others take it on."""
    monkeypatch.setattr(leases, "PING_EVERY", 0.005)
    renewed: list[str] = []
    work = Stubborn(seconds=20.0)
    scene = scene_of(work)
    extend = scene.memory.extend

    def note(claims: list[Claim], *, lease: float) -> list[Claim]:
        renewed.extend(claim.id for claim in claims)
        scene.store.changes.tell_from_thread()
        return extend(claims, lease=lease)

    monkeypatch.setattr(scene.memory, "extend", note)
    [id] = await scene.push()
    async with scene.alive():
        await scene.script.until_began()
        try:
            scene.fake.advance(9.0)
            await scene.store.changes.until(lambda: renewed == [id])
            scene.fake.advance(12.0)  # the loop's own time stands still: its timer does not fire
            await asyncio.sleep(0.05)
            peer = await scene.store.peer()
            [taken] = await peer.reclaim(QUEUE, 5, worker="other", lease=10.0)
        finally:
            work.free.set()
    assert (renewed, taken.id) == ([id], id)


async def test_news_reach_those_who_wait_for_that_message() -> None:
    settled = Settled()
    settled.told("nobody waits for it")
    with settled.expected("a") as news, settled.expected("a") as other:
        await news.wait(0.001)
        settled.told("b")
        settled.told("a")
        async with asyncio.timeout(20.0):
            await asyncio.gather(news.wait(3600.0), other.wait(3600.0))
        await news.wait(0.001)
    assert settled._waiting == {}
