"""The cron service at work: what it pushes, when it looks, how long it sleeps."""

import asyncio
from typing import Any

import pytest

from tests.fakes import FakeClock
from tests.runtime.cron_world import START, World, every, make_message
from vtasks_asgi.core.clock import SystemClock
from vtasks_asgi.core.message import Message
from vtasks_asgi.core.outcome import Done
from vtasks_asgi.core.schedule import Entry, Every
from vtasks_asgi.runtime.cron import MAX_SLEEP, Cron, tick_id
from vtasks_asgi.runtime.events import Events, Listener
from vtasks_asgi.store.base import Settlement, State, Ticked
from vtasks_asgi.store.memory import MemoryStore


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
    assert world.heard.ticks == [("x", 0.0, Ticked.FIRED)]
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
    assert sorted(world.heard.ticks) == [("x", 0.0, Ticked.FIRED), ("x", 0.0, Ticked.LATE)]
    assert world.heard.submitted_tasks == [("a.b", "default", 1)]
    assert [process.last_ticks for process in processes] == [{"x": START + 60}] * 2


async def test_a_tick_whose_key_is_held_is_skipped_and_told_so() -> None:
    """The last run goes on; a process that comes second is late all the same."""

    def unique(entry: Entry, at: float) -> Message:
        message = make_message(entry, at)
        message.unique = "key"
        return message

    announced: list[str] = []

    async def announce(message: Message) -> None:
        announced.append(message.id)

    world = await World(every(60)).open()
    hub = Events([world.heard])
    cron = Cron(world.store, world.entries, unique, hub, world.clock, announce=announce)
    await cron.look()
    for _ in range(2):
        world.clock.advance(60)
        await cron.look()
    await world.process(make=unique).look()
    assert world.heard.ticks == [("x", 0.0, Ticked.FIRED), ("x", 0.0, Ticked.SKIPPED)]
    assert world.heard.submitted_tasks == [("a.b", "default", 1)]
    assert world.heard.duplicates == [("a.b", "default", 1)]
    assert announced == [tick_id("x", START + 60)]
    assert cron.last_ticks == {"x": START + 120}
    claimed = await world.memory.claim("default", 5, worker="w", lease=30)
    await world.memory.settle([Settlement(claim, Done(b"")) for claim in claimed.claims])
    world.clock.advance(60)
    await cron.look()
    assert world.heard.ticks[-1] == ("x", 0.0, Ticked.FIRED)
    assert await world.pushed() == [START + 180]


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
    assert world.heard.ticks == [("x", 7.5, Ticked.FIRED)]
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
    assert world.heard.ticks == [("x", 25.0, Ticked.FIRED)]


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
        def tick(self, schedule: str, lateness: float, ticked: Ticked) -> None:
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
