"""Each tick once, whoever is there, whatever fails, however the clock moves."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import FakeClock
from tests.runtime.cron_world import START, World, every, make_message
from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.schedule import Cron as CronSchedule
from vtasks_asgi.core.schedule import Entry
from vtasks_asgi.runtime.cron import COMPLAIN_EVERY, MAX_SLEEP, Cron
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.store.base import State, Ticked, Ticks
from vtasks_asgi.store.memory import MemoryStore


async def test_a_store_that_lost_its_ticks_is_a_first_deploy() -> None:
    world = await World(every(3600)).open()
    cron = world.process()
    await cron.look()
    world.memory = world.store.store = MemoryStore(clock=world.clock)
    await world.memory.open()
    world.clock.advance(60)
    await cron.look()  # seen at once, not at the next boundary
    world.clock.advance(3600)
    await cron.look()
    assert await world.pushed() == [START + 3600]


async def test_a_clock_that_steps_back_fires_nothing_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = await World(every(60, misfire="all")).open()
    cron = world.process()
    await cron.look()
    world.clock.advance(180)
    await cron.look()
    world.clock.step(-130)
    for _ in range(30):
        assert 0 < await cron.look() <= MAX_SLEEP
        world.clock.advance(10)
    assert await world.pushed() == [START + at for at in (60, 120, 180, 240, 300)]
    told = [message for message in caplog.messages if "in the future" in message]
    assert len(told) == 1
    assert "Schedule 'x': its last tick is 130 s in the future" in told[0]


async def test_after_a_step_back_the_sleep_goes_by_the_new_time() -> None:
    world = await World(every(7200)).open()
    cron = world.process()
    await cron.look()
    world.clock.step(7190)
    assert await cron.look() == pytest.approx(10)
    world.clock.step(-7000)
    assert await cron.look() == MAX_SLEEP


async def test_a_tick_is_not_lost_when_the_process_dies_before_the_push() -> None:
    world = await World(every(60, misfire="all")).open()
    await world.process().look()
    world.clock.advance(120)
    gate = world.store.hold("push_tick")
    dying = asyncio.create_task(world.process().look())
    await gate.reached.wait()
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying
    assert await world.pushed() == []
    gate.opened.set()
    await world.process().look()
    assert await world.pushed() == [START + 60, START + 120]


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("verb", ["ticks", "push_tick"])
async def test_a_store_that_fails_ends_the_run_and_costs_no_tick(
    verb: str, committed: bool
) -> None:
    world = await World(every(60, misfire="all")).open()
    cron = world.process()
    await cron.look()
    world.clock.advance(180)
    world.store.fail(verb, committed=committed)
    with pytest.raises(StoreUnavailable):
        await cron.run()
    await cron.look()
    assert await world.pushed() == [START + 60, START + 120, START + 180]


async def test_a_bad_entry_stops_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    broken = {"bad"}

    def make(entry: Entry, at: float) -> Message:
        if entry.name in broken:
            raise LookupError("no such task")
        return make_message(entry, at)

    world = await World(every(60, "bad"), every(60, "good")).open()
    cron = world.process(make=make)
    with caplog.at_level(logging.INFO):
        await cron.look()
        for _ in range(int(COMPLAIN_EVERY) // 60):
            world.clock.advance(60)
            assert await cron.look() == pytest.approx(60)
        assert await world.pushed("good") == [START + at for at in (60, 120, 180, 240, 300)]
        assert await world.pushed("bad") == []
        assert cron.failing == {"bad"}
        assert caplog.messages == ["Schedule 'bad': its message cannot be made"]
        assert caplog.records[0].exc_info is not None
        assert cron.last_ticks["bad"] == START  # left for a process that can
        world.clock.advance(60)
        await cron.look()
        assert len(caplog.messages) == 2
        broken.clear()
        world.clock.advance(10)
        await cron.look()  # tried at every look, not only at the next boundary
        assert await world.pushed("bad") == [START + 360]
        assert caplog.messages[2:] == ["Schedule 'bad' works again"]
        assert cron.failing == set()
        broken.add("bad")
        world.clock.advance(60)
        await cron.look()  # a new failure, not the old one going on
        assert caplog.messages[3:] == ["Schedule 'bad': its message cannot be made"]


async def test_while_an_entry_is_bad_looks_come_no_faster() -> None:
    def make(entry: Entry, at: float) -> Message:
        raise LookupError("no such task")

    world = await World(every(3600)).open()
    cron = world.process(make=make)
    await cron.look()
    world.clock.advance(3599)
    assert await cron.look() == pytest.approx(1)
    world.clock.advance(1)
    assert await cron.look() == MAX_SLEEP


async def test_another_process_fires_what_this_one_cannot() -> None:
    def make(entry: Entry, at: float) -> Message:
        raise LookupError("this release does not have that task")

    world = await World(every(60)).open()
    old = world.process(make=make)
    await old.look()
    world.clock.advance(60)
    await old.look()
    await world.process().look()
    assert await world.pushed() == [START + 60]


# -- many processes


class Shuffled(MemoryStore):
    """Suspends its caller around every verb for a while that the seed decides; keeps a ledger."""

    def __init__(self, clock: FakeClock, seed: int) -> None:
        super().__init__(clock=clock)
        self._random = random.Random(seed)
        self.ledger: list[tuple[str, float]] = []

    async def _stall(self) -> None:
        for _ in range(self._random.randrange(4)):
            await asyncio.sleep(0)

    async def ticks(self, schedules: Sequence[str]) -> Ticks:
        await self._stall()
        ticks = await super().ticks(schedules)
        await self._stall()
        return ticks

    async def push_tick(self, schedule: str, at: float, message: Message | None) -> Ticked:
        await self._stall()
        moved = await super().push_tick(schedule, at, message)
        if moved is Ticked.FIRED:
            self.ledger.append((schedule, at))
        await self._stall()
        return moved


@given(
    st.integers(),
    st.lists(
        st.tuples(
            st.floats(min_value=0, max_value=40),  # how long nobody looks
            st.sets(st.integers(0, 2), min_size=1),  # who looks then, all at once
            st.sets(st.integers(0, 2)),  # who is killed meanwhile, and started anew
        ),
        min_size=1,
        max_size=25,
    ),
)
def test_three_processes_fire_each_tick_exactly_once(
    seed: int, story: list[tuple[float, set[int], set[int]]]
) -> None:
    entries = [
        every(10, "all", misfire="all"),
        every(7, "latest"),
        Entry(name="cron", task="a.b", schedule=CronSchedule("* * * * *"), misfire="all"),
    ]

    async def live() -> None:
        clock = FakeClock(START)
        store = Shuffled(clock, seed)
        await store.open()

        def start() -> Cron:
            return Cron(store, entries, make_message, Events(), clock)

        crons = [start() for _ in range(3)]
        await crons[0].look()
        for seconds, lookers, victims in story:
            clock.advance(seconds)
            looks = {index: asyncio.create_task(crons[index].look()) for index in lookers}
            await asyncio.sleep(0)
            for index in victims:
                if index in looks:
                    looks[index].cancel()
                crons[index] = start()
            await asyncio.gather(*looks.values(), return_exceptions=True)
        clock.advance(0.5)
        await crons[0].look()
        await check(store, clock.now())

    async def check(store: Shuffled, now: float) -> None:
        counts = Counter(store.ledger)
        assert set(counts.values()) <= {1}
        records, _ = await store.browse("default", State.READY, limit=10_000)
        assert sorted(r.body.decode() for r in records) == sorted(f"{n}@{at}" for n, at in counts)
        for entry in entries:
            fired = [at for name, at in store.ledger if name == entry.name]
            expected = entry.schedule.boundaries(START, now, limit=10_000)
            assert all(one < next_one for one, next_one in pairwise(fired))
            if entry.misfire == "all":
                assert fired == expected
            else:
                assert set(fired) <= set(expected)
                assert fired[-1:] == expected[-1:]

    asyncio.run(live())
