"""Messages kept ready for slots about to be free: no claim between, never too many, none kept long.

The clock stands still but for what a test advances it, so rates are exact.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.fakes import FakeClock
from tests.runtime.helpers import (
    DONE,
    QUEUE,
    Gated,
    Scene,
    Script,
    SpyStore,
    configured,
    push,
    turns,
)
from vtasks_asgi.core.outcome import Outcome, Release
from vtasks_asgi.runtime.config import PoolConfig
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.execute import Executions
from vtasks_asgi.runtime.fetch import AHEAD_FROM, READY_SHARE
from vtasks_asgi.runtime.ready import PATIENCE, WINDOW, Ready
from vtasks_asgi.runtime.settle import Settler
from vtasks_asgi.runtime.slots import Slots
from vtasks_asgi.runtime.suspects import SUSPECTED_AFTER, Suspects
from vtasks_asgi.store.base import Claim, State
from vtasks_asgi.store.memory import MemoryStore

SIZE = 20
MOST = int(SIZE * READY_SHARE)
LEASE = 30.0


def busy(**options: object) -> Scene:
    """A pool whose tasks wait until they are let go."""
    scene = Scene(config=configured(PoolConfig((QUEUE,), SIZE), lease=LEASE, **options))
    scene.script.work = Gated()
    return scene


async def end(scene: Scene, count: int, *, after: float = WINDOW) -> None:
    """So many tasks end at once, so long after the last ones, and others take their slots."""
    assert isinstance(scene.script.work, Gated)
    before = len(scene.script.began)
    scene.fake.advance(after)
    scene.script.work.release(count)
    await scene.script.until_began(before + count)
    await turns()


async def warm(scene: Scene) -> None:
    """Slots become free so quickly that messages are kept ready."""
    await scene.script.until_began(SIZE)
    await turns()
    for _ in range(4):
        await end(scene, SIZE)


async def states(scene: Scene, ids: list[str]) -> list[State]:
    return [(await scene.store.record(id)).state for id in ids]


@asynccontextmanager
async def warmed(*, backlog: int = 20 * SIZE) -> AsyncIterator[tuple[Scene, list[str]]]:
    scene = busy()
    ids = await scene.push(backlog)
    async with scene.alive():
        await warm(scene)
        yield scene, ids


async def test_a_slot_is_taken_again_without_a_claim() -> None:
    async with warmed() as (scene, _):
        gate = scene.store.hold("claim")
        await end(scene, 2)
        assert scene.script.running == SIZE
        gate.opened.set()


async def test_what_runs_and_what_is_ready_have_their_bounds() -> None:
    async with warmed() as (scene, ids):
        for count in (1, 7, 10, 3, 12):
            await end(scene, count)
            leased = (await states(scene, ids)).count(State.RUNNING)
            assert SIZE < leased <= SIZE + MOST
        assert scene.script.most == SIZE


async def test_they_begin_in_order() -> None:
    async with warmed() as (scene, ids):
        for _ in range(5):
            await end(scene, 7)
        began = [claim.id for claim in scene.script.began]
        assert began == ids[: len(began)]


async def test_slow_tasks_have_none() -> None:
    scene = busy()
    ids = await scene.push(10 * SIZE)
    async with scene.alive():
        await scene.script.until_began(SIZE)
        for _ in range(4):
            await end(scene, 5, after=10 * WINDOW)
            assert (await states(scene, ids)).count(State.RUNNING) == SIZE


async def test_a_small_pool_has_none() -> None:
    size = AHEAD_FROM - 1
    scene = Scene(config=configured(PoolConfig((QUEUE,), size), lease=LEASE))
    scene.script.work = Gated()
    ids = await scene.push(10 * size)
    async with scene.alive():
        await scene.script.until_began(size)
        for _ in range(4):
            await end(scene, 5)
            assert (await states(scene, ids)).count(State.RUNNING) == size


async def test_none_is_claimed_ahead_while_requests_come_in() -> None:
    scene = busy()
    ids = await scene.push(10 * SIZE)
    async with scene.alive():
        await scene.script.until_began(SIZE)
        for _ in range(4):
            scene.runtime.traffic.note()
            await end(scene, 2)
            assert (await states(scene, ids)).count(State.RUNNING) == SIZE


async def test_a_stop_gives_them_back_without_an_attempt() -> None:
    async with warmed() as (scene, ids):
        running = scene.script.running
        began = {claim.id for claim in scene.script.began}
        ready = [id for id in ids if id not in began]
        assert State.RUNNING in await states(scene, ready)
    assert running == SIZE
    for id in ready:
        record = await scene.store.record(id)
        assert (record.state, record.attempt, record.crashes) == (State.READY, 0, 0)


# --- by itself ------------------------------------------------------------------------------------


class Hand:
    """Of a pool of ``size``, all of its slots taken, with some claims kept ready."""

    def __init__(self, size: int = 2, most: int = 10) -> None:
        self.clock = FakeClock()
        self.store = SpyStore(MemoryStore(clock=self.clock))
        self.settler = Settler(self.store, Events())
        self.script = Script(Gated())
        context = contextvars.copy_context()
        self.executions = Executions(self.script, self.settler, self.clock, context)
        self.suspects = Suspects(self.executions, self.settler, self.clock)
        self.slots = Slots(size)
        for _ in range(size):
            self.slots.take()
        hands = self.slots, self.executions, self.settler, self.suspects
        self.ready = Ready(*hands, self.clock, most)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Its timer runs by the loop's own clock."""
        async with asyncio.timeout(20.0):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(PATIENCE / 5)

    async def add(self, count: int, *, stale_in: float = LEASE / 3) -> list[Claim]:
        await self.store.open()
        await push(self.store.memory, count)
        claimed = await self.store.claim(QUEUE, count, worker="me", lease=LEASE)
        self.ready.add(claimed.claims, self.clock.monotonic() + stale_in)
        return claimed.claims

    def released(self) -> list[Claim]:
        return [s.claim for s in self.settler._pending if s.outcome == Release(0.0)]


async def test_one_begins_at_the_turn_after_a_slot_was_given_back() -> None:
    hand = Hand()
    first, _ = await hand.add(2)
    hand.slots.give()
    assert not hand.script.began, "within what gave it back"
    await turns()
    assert hand.script.began == [first]
    assert len(hand.ready) == 1


async def test_who_is_in_line_for_a_slot_goes_first() -> None:
    hand = Hand()
    await hand.add(2)

    async def take() -> None:
        await hand.slots.wait_free()
        hand.slots.take()

    waiting = asyncio.create_task(take())
    await turns()
    hand.slots.give()
    await waiting
    await turns()
    assert not hand.script.began


async def test_what_waits_too_long_is_given_back() -> None:
    hand = Hand()
    claims = await hand.add(3)
    hand.clock.advance(PATIENCE / 2)
    later = await hand.add(1)
    hand.clock.advance(PATIENCE / 2)
    await hand.until(lambda: len(hand.ready) == 1)
    assert hand.released() == claims
    hand.clock.advance(PATIENCE / 2)
    await hand.until(lambda: not hand.ready)
    assert hand.released() == claims + later


async def test_one_that_may_be_somebody_elses_is_not_begun() -> None:
    hand = Hand()
    claims = await hand.add(1, stale_in=1.0)
    hand.clock.advance(1.1)
    hand.slots.give()
    await turns()
    assert not hand.script.began
    assert hand.released() == claims


async def test_they_are_given_back_before_a_suspect_runs_alone() -> None:
    hand = Hand()
    claims = await hand.add(2)
    await hand.suspects.alone(lambda: None, lambda: True)
    assert hand.released() == claims


async def test_none_begins_beside_a_suspect() -> None:
    hand = Hand()
    begun, over = asyncio.Event(), asyncio.Event()
    alone = asyncio.create_task(hand.suspects.alone(begun.set, over.is_set))
    await begun.wait()
    await hand.add(1)
    hand.slots.give()
    await turns()
    assert not hand.script.began
    over.set()
    await alone


@pytest.mark.parametrize(
    ("given", "took", "target"),
    [(20, 0.003, 5), (20, 0.0, 2), (100, 0.003, 10), (0, 1.0, 0)],
)
async def test_it_keeps_what_becomes_free_during_a_claim(
    given: int, took: float, target: int
) -> None:
    """``given`` in 10 ms, a moving average that weighs them half; ``took`` and 2 ms more."""
    hand = Hand(size=100)
    hand.clock.advance(2 * WINDOW)
    for _ in range(given):
        hand.slots.give()
    hand.ready.expect(took)
    assert hand.ready.room == target


async def test_it_asks_for_more_once_half_are_gone() -> None:
    hand = Hand(size=100)
    hand.clock.advance(2 * WINDOW)
    for _ in range(100):
        hand.slots.give()
    for _ in range(100):
        hand.slots.take()
    hand.ready.expect(1.0)
    rooms = [hand.ready.room]
    await hand.add(10)
    for _ in range(6):
        rooms.append(hand.ready.room)
        hand.slots.give()
        await turns()
    assert rooms == [10, 0, 0, 0, 0, 0, 5]


async def test_a_suspect_claimed_beside_them_runs_alone() -> None:
    async with warmed(backlog=10 * SIZE) as (scene, ids):
        began = {claim.id for claim in scene.script.began}
        waiting = [id for id in ids if id not in began]
        suspects = set(waiting[2 * SIZE :: SIZE])
        for id in suspects:
            scene.memory._entries[id].record.crashes = SUSPECTED_AFTER
        beside: dict[str, int] = {}

        async def work(claim: Claim) -> Outcome:
            if claim.id in suspects:
                beside[claim.id] = scene.script.running - 1
            await asyncio.sleep(0.001)
            scene.fake.advance(WINDOW)
            return DONE

        gate, scene.script.work = scene.script.work, work
        assert isinstance(gate, Gated)
        gate.release(SIZE)
        await scene.script.until_ended(len(ids))
    assert beside == dict.fromkeys(suspects, 0)
