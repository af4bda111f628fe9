"""Outcomes written back: late perhaps, changed or lost never."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.fakes import FakeClock
from tests.runtime.helpers import DONE, NOTHING, QUEUE, Recorder, Scene, SpyStore, push, turns
from tests.runtime.virtual_time import VirtualLoop
from vtasks_asgi.core.outcome import Dead, Release
from vtasks_asgi.runtime import settle
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.settle import Settler
from vtasks_asgi.runtime.supervise import services
from vtasks_asgi.store.base import Claim, Settlement, State
from vtasks_asgi.store.memory import MemoryStore


class Bench:
    """A settler alone, over a spied-on store, with claims to settle."""

    def __init__(self, *, dead_letter_cap: int = 1000) -> None:
        memory = MemoryStore(clock=FakeClock(), dead_letter_cap=dead_letter_cap)
        self.store = SpyStore(memory)
        self.recorder = Recorder()
        self.events = Events([self.recorder])
        self.settler = Settler(self.store, self.events)
        self.answered: list[str] = []
        self.settler.settled = lambda claim: self.answered.append(claim.id)

    async def claims(self, count: int = 1) -> Sequence[Claim]:
        await self.store.memory.open()
        await push(self.store.memory, count)
        return (await self.store.memory.claim(QUEUE, count, worker="me", lease=30.0)).claims

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with services({"settle": self.settler.run}, self.events):
            yield


async def test_an_outage_repeats_the_same_tokens_and_loses_nothing() -> None:
    scene = Scene()
    ids = await scene.push(2)
    scene.store.fail("settle", times=2)
    async with scene.alive():
        await scene.store.until_settled(6)
    asked = [{(s.claim.id, s.claim.token) for s in batch} for batch in scene.store.settlements]
    assert len(asked[0]) == 2
    assert asked == [asked[0]] * 3
    assert [(await scene.store.record(id)).state for id in ids] == [State.DONE] * 2
    assert [claim.id for claim in scene.script.began] == ids, "each ran once"
    assert not scene.recorder.all("stale")


async def test_an_answer_lost_on_the_way_back_changes_nothing() -> None:
    scene = Scene()
    [id] = await scene.push()
    scene.store.fail("settle", committed=True)
    async with scene.alive():
        await scene.store.until_settled(2)
        await turns()
    assert (await scene.store.record(id)).state is State.DONE
    assert len(scene.script.began) == 1


async def test_a_claim_is_answered_for_only_when_the_store_has() -> None:
    bench = Bench()
    claims = await bench.claims(2)
    gate = bench.store.hold("settle")
    async with bench.running():
        for claim in claims:
            bench.settler.put(Settlement(claim, DONE))
        await gate.reached.wait()
        assert (bench.settler.pending, bench.answered) == (2, [])
        gate.opened.set()
        assert await bench.settler.flush(10.0)
    assert (bench.settler.pending, bench.answered) == (0, [claim.id for claim in claims])


async def test_what_comes_during_a_write_goes_with_the_next_one() -> None:
    bench = Bench()
    claims = await bench.claims(3)
    gate = bench.store.hold("settle")
    async with bench.running():
        bench.settler.put(Settlement(claims[0], DONE))
        await gate.reached.wait()
        bench.settler.put(Settlement(claims[1], DONE))
        bench.settler.put(Settlement(claims[2], DONE))
        gate.opened.set()
        assert await bench.settler.flush(10.0)
    assert [len(batch) for batch in bench.store.settlements] == [1, 2]
    assert bench.answered == [claim.id for claim in claims]


async def test_batches_are_bounded() -> None:
    bench = Bench()
    claims = await bench.claims(settle.BATCH + 7)
    for claim in claims:
        bench.settler.put(Settlement(claim, DONE))
    async with bench.running():
        assert await bench.settler.flush(10.0)
    assert [len(batch) for batch in bench.store.settlements] == [settle.BATCH, 7]


async def test_lost_leases_and_evictions_are_told() -> None:
    bench = Bench(dead_letter_cap=1)
    claims = await bench.claims(3)
    gone = Claim("gone", QUEUE, b"", 0, "token", 1)
    for claim in claims:
        bench.settler.put(Settlement(claim, Dead(NOTHING, "broken")))
    bench.settler.put(Settlement(gone, DONE))
    async with bench.running():
        assert await bench.settler.flush(10.0)
    assert bench.recorder.all("stale") == [([gone],)]
    assert bench.recorder.all("evicted") == [(QUEUE, 2)]
    assert bench.answered[-1] == "gone", "a lost one is answered for as well"


async def test_flush_of_nothing_is_over_at_once() -> None:
    assert await Bench().settler.flush(0.0)


async def test_there_is_room_until_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "CONGESTED", 2)
    bench = Bench()
    claims = await bench.claims(3)
    for claim in claims[:2]:
        bench.settler.put(Settlement(claim, Release()))
    await bench.settler.wait_room()
    bench.settler.put(Settlement(claims[2], Release()))
    waiting = asyncio.create_task(bench.settler.wait_room())
    await turns()
    assert not waiting.done()
    async with bench.running():
        await waiting


def test_flush_gives_up_after_its_time() -> None:
    async def main() -> None:
        bench = Bench()
        [claim] = await bench.claims()
        bench.store.down = True
        bench.settler.put(Settlement(claim, DONE))
        began = asyncio.get_running_loop().time()
        async with bench.running():
            assert not await bench.settler.flush(30.0)
        assert asyncio.get_running_loop().time() - began == pytest.approx(30.0)
        assert bench.settler.pending == 1
        assert bench.answered == []

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
