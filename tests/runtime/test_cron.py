"""The cron service: each tick once, whoever is there, whatever fails, however the clock moves."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import FakeClock, FaultyStore
from vtasks_asgi.core.clock import SystemClock
from vtasks_asgi.core.errors import StoreUnavailable
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.schedule import Cron as CronSchedule
from vtasks_asgi.core.schedule import Entry, Every
from vtasks_asgi.runtime.cron import COMPLAIN_EVERY, MAX_SLEEP, Cron, tick_id
from vtasks_asgi.runtime.events import Events, Listener
from vtasks_asgi.store.base import State, Ticks
from vtasks_asgi.store.memory import MemoryStore

START = 1_800_000_000.0


class Heard(Listener):
    def __init__(self) -> None:
        self.ticks: list[tuple[str, float, bool]] = []
        self.submitted_tasks: list[tuple[str, str, int]] = []

    def submitted(self, task: str, queue: str, count: int) -> None:
        self.submitted_tasks.append((task, queue, count))

    def tick(self, schedule: str, lateness: float, fired: bool) -> None:
        self.ticks.append((schedule, lateness, fired))


class World:
    """One store, one clock, and as many processes as a test wants."""

    def __init__(self, *entries: Entry, now: float = START) -> None:
        self.clock = FakeClock(now)
        self.memory = MemoryStore(clock=self.clock)
        self.store = FaultyStore(self.memory)
        self.entries = list(entries)
        self.heard = Heard()

    async def open(self) -> "World":
        await self.memory.open()
        return self

    def process(
        self,
        make: Callable[[Entry, float], Message] | None = None,
        clock: FakeClock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> Cron:
        return Cron(
            self.store,
            self.entries,
            make or make_message,
            Events([self.heard]),
            clock or self.clock,
            sleep=sleep,
        )

    async def pushed(self, name: str = "x") -> list[float]:
        """The ticks whose messages the store holds, in the order they were pushed."""
        records, _ = await self.memory.browse("default", State.READY, limit=10_000)
        bodies = [record.body.decode().split("@") for record in records]
        return [float(at) for entry, at in bodies if entry == name]


def make_message(entry: Entry, at: float) -> Message:
    return Message(tick_id(entry.name, at), "default", f"{entry.name}@{at}".encode())


def every(seconds: float, name: str = "x", **options: Any) -> Entry:
    return Entry(name=name, task="a.b", schedule=Every(seconds), **options)


def test_a_tick_has_one_id_in_every_process() -> None:
    assert tick_id("x", START) == "fe9dbf7fedbe51c484c17a7ca1e986af"  # and in every release
    ids = {tick_id(name, at) for name in ("x", "y", "x 1") for at in (START, START + 1, 0.5)}
    assert len(ids) == 9


async def test_a_first_deploy_fires_nothing_but_the_next_tick() -> None:
    world = await World(every(60), now=START + 30).open()
    cron = world.process()
    assert await cron.look() == pytest.approx(30)
    assert await world.pushed() == []
    assert world.heard.ticks == []
    assert cron.last_ticks == {"x": START}
    world.clock.advance(30)
    assert await cron.look() == pytest.approx(60)
    assert await world.pushed() == [START + 60]
    assert world.heard.ticks == [("x", 0.0, True)]
    assert cron.last_ticks == {"x": START + 60}


async def test_the_second_process_tells_that_it_came_late() -> None:
    world = await World(every(60)).open()
    processes = [world.process(), world.process()]
    await processes[0].look()
    world.clock.advance(60)
    gate = world.store.hold("push_tick")
    looks = [asyncio.create_task(process.look()) for process in processes]
    await gate.reached.wait()
    await asyncio.sleep(0)
    gate.opened.set()
    await asyncio.gather(*looks)
    assert await world.pushed() == [START + 60]
    assert sorted(world.heard.ticks) == [("x", 0.0, False), ("x", 0.0, True)]
    assert world.heard.submitted_tasks == [("a.b", "default", 1)]
    assert [process.last_ticks for process in processes] == [{"x": START + 60}] * 2


async def test_a_schedule_without_a_past_is_known_from_its_first_look() -> None:
    class Future(Every):
        __slots__ = ()

        def last_boundary(self, now: float) -> float:
            return None if now < START + 60 else START + 60  # type: ignore[return-value]

    world = await World(Entry(name="x", task="a.b", schedule=Future(60))).open()
    cron = world.process()
    await cron.look()
    assert cron.last_ticks == {"x": START}
    world.clock.advance(60)
    await cron.look()
    assert await world.pushed() == [START + 60]


async def test_lateness_and_age_go_by_the_clock_of_the_store() -> None:
    world = await World(every(60)).open()
    cron = world.process(clock=FakeClock(0.0))  # this process's own clocks are of no account
    await cron.look()
    world.clock.advance(67.5)
    await cron.look()
    assert world.heard.ticks == [("x", 7.5, True)]
    assert cron.ages() == {"x": 7.5}


async def test_the_sleep_ends_at_the_earliest_boundary_or_after_a_minute() -> None:
    world = await World(every(3600, "slow"), every(45, "quick"), now=START + 1).open()
    assert await world.process().look() == pytest.approx(44)
    world.entries = [every(3600, "slow")]
    assert await world.process().look() == MAX_SLEEP
    world.entries = []
    assert await world.process().look() == MAX_SLEEP


async def test_time_spent_pushing_is_taken_off_the_sleep() -> None:
    world = await World(every(60)).open()

    def slow(entry: Entry, at: float) -> Message:
        world.clock.advance(25)
        return make_message(entry, at)

    cron = world.process(make=slow)
    await cron.look()
    world.clock.advance(60)
    assert await cron.look() == pytest.approx(35)
    assert world.heard.ticks == [("x", 25.0, True)]


async def test_a_timer_that_fires_early_does_not_spin() -> None:
    world = await World(every(60)).open()
    cron = world.process()
    await cron.look()
    world.clock.advance(60 - 1e-6)
    assert await cron.look() >= 0.001
    assert await world.pushed() == []


@pytest.mark.parametrize(
    ("options", "fired"),
    [
        ({}, [3600]),
        ({"misfire": "all"}, list(range(60, 3601, 60))),
        ({"misfire": "all", "max_catch_up": 3}, [3480, 3540, 3600]),
    ],
)
async def test_after_an_hour_down(options: dict[str, Any], fired: list[int]) -> None:
    world = await World(every(60, **options)).open()
    await world.process().look()
    world.clock.advance(3600)
    for process in (world.process(), world.process()):
        await process.look()
        assert process.last_ticks == {"x": START + 3600}
    assert await world.pushed() == [START + at for at in fired]


async def test_a_tick_too_old_is_skipped_for_good_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = await World(every(3600, misfire="skip", misfire_grace_time=60.0)).open()
    await world.process().look()
    world.clock.advance(3600 + 61)
    for process in (world.process(), world.process()):
        await process.look()
        assert process.last_ticks == {"x": START + 3600}
    world.clock.step(-30)
    await world.process().look()
    assert await world.pushed() == []
    assert caplog.messages == ["Schedule 'x': a missed tick was skipped, too old"]


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


async def test_an_entry_removed_and_added_again_was_only_away() -> None:
    entry, other = every(60), every(60, "other")
    world = await World(entry, other).open()
    await world.process().look()
    world.entries = [other]
    world.clock.advance(600)
    await world.process().look()
    assert await world.pushed() == []
    world.entries = [entry, other]
    world.clock.advance(600)
    cron = world.process()
    await cron.look()
    await cron.look()
    assert await world.pushed() == [START + 1200]
    assert await world.pushed("other") == [START + 600, START + 1200]


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


async def test_run_looks_and_sleeps_until_cancelled() -> None:
    world = await World(every(60), now=START + 15).open()
    asleep = asyncio.Event()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 4:
            asleep.set()
            await asyncio.Event().wait()
        world.clock.advance(seconds)

    running = asyncio.create_task(world.process(sleep=sleep).run())
    await asleep.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert slept == pytest.approx([45, 60, 60, 60])
    assert await world.pushed() == [START + 60, START + 120, START + 180]


async def test_run_really_sleeps_and_wakes() -> None:
    """With the system's own clock and timer: one tick, and the two that have to agree on it."""
    memory = MemoryStore()
    await memory.open()
    fired = asyncio.Event()

    class Wake(Listener):
        def tick(self, schedule: str, lateness: float, fired_here: bool) -> None:
            fired.set()

    hub = Events([Wake()])
    crons = [Cron(memory, [every(1)], make_message, hub, SystemClock()) for _ in range(2)]
    running = [asyncio.create_task(cron.run()) for cron in crons]
    await fired.wait()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    records, _ = await memory.browse("default", State.READY, limit=10)
    assert len({record.id for record in records}) == len(records) >= 1


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

    async def push_tick(self, schedule: str, at: float, message: Message | None) -> bool:
        await self._stall()
        moved = await super().push_tick(schedule, at, message)
        if moved and message is not None:
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
