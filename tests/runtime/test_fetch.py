"""Claiming: as many as there are free slots, no claim granted and then forgotten."""

import asyncio
import contextvars
from collections.abc import Sequence

import pytest

from tests.fakes import FakeClock
from tests.runtime.helpers import DONE, QUEUE, Gated, Scene, configured, message, turns
from vtasks_asgi.core.outcome import Outcome
from vtasks_asgi.runtime import settle
from vtasks_asgi.runtime.config import PoolConfig
from vtasks_asgi.runtime.events import Events
from vtasks_asgi.runtime.execute import Executions
from vtasks_asgi.runtime.fetch import Fetcher
from vtasks_asgi.runtime.pauses import Pauses
from vtasks_asgi.runtime.settle import Settler
from vtasks_asgi.runtime.slots import Slots
from vtasks_asgi.runtime.suspects import Suspects
from vtasks_asgi.store.base import Claim, Claimed, State
from vtasks_asgi.store.memory import MemoryStore


async def test_it_claims_exactly_as_many_as_slots_are_free() -> None:
    gate = Gated()
    scene = Scene(gate, config=configured(PoolConfig((QUEUE,), 3)))
    await scene.push(10)
    async with scene.alive():
        await scene.script.until_began(3)
        await turns()
        assert scene.store.claimed == [(QUEUE, 3)], "asked again though no slot was free"
        gate.release(2)
        await scene.script.until_began(5)
        await turns()
        assert scene.script.running == 3
        assert sum(limit for _, limit in scene.store.claimed) == 5
        gate.release(100)
        await scene.store.until_settled(10)
    assert scene.script.most == 3
    assert len(scene.script.began) == 10


async def test_messages_beyond_the_slots_stay_with_the_store() -> None:
    scene = Scene(Gated(), config=configured(PoolConfig((QUEUE,), 2)))
    ids = await scene.push(5)
    async with scene.alive():
        await scene.script.until_began(2)
        await turns()
        states = [(await scene.store.record(id)).state for id in ids]
        assert states == [State.RUNNING] * 2 + [State.READY] * 3


async def test_no_queue_of_a_pool_starves_another() -> None:
    gate = Gated()
    scene = Scene(gate, config=configured(PoolConfig(("a", "b", "c"), 1)))
    for queue in "abc":
        await scene.push(3, queue)
    async with scene.alive():
        for count in range(1, 10):
            await scene.script.until_began(count)
            gate.release()
        await scene.script.until_ended(9)
    assert {limit for _, limit in scene.store.claimed} == {1}, "asked without a free slot"
    order = [claim.queue for claim in scene.script.began]
    assert [sorted(order[i : i + 3]) for i in (0, 3, 6)] == [["a", "b", "c"]] * 3


async def test_a_queue_with_slots_of_its_own_neither_takes_nor_waits_for_others() -> None:
    gate = Gated()
    scene = Scene(gate, config=configured(PoolConfig((QUEUE,), 2), PoolConfig(("slow",), 1)))
    await scene.push(5, "slow")
    async with scene.alive():
        await scene.script.until_began(1)
        await scene.push(5)
        await scene.script.until_began(3)
        await turns()
        running = sorted(claim.queue for claim in scene.script.began)
        assert running == [QUEUE, QUEUE, "slow"]
        assert {limit for queue, limit in scene.store.claimed if queue == "slow"} == {1}


async def test_an_idle_pool_waits_until_it_rings() -> None:
    scene = Scene(config=configured(PoolConfig((QUEUE,), 2), poll=3600.0))
    async with scene.alive():
        await scene.store.changes.until(lambda: bool(scene.store.waits))
        await scene.push()
        await scene.script.until_ended()
    assert scene.store.waits[0] == ([QUEUE], 3600.0)


async def test_it_waits_no_longer_than_until_the_next_message_is_due() -> None:
    scene = Scene(config=configured(PoolConfig((QUEUE,), 2), poll=3600.0))
    peer = await scene.store.peer()
    await peer.push([message(run_at=scene.fake.now() + 90.0)])
    async with scene.alive():
        await scene.store.changes.until(lambda: bool(scene.store.waits))
    assert scene.store.waits[0] == ([QUEUE], 90.0)


class Due(MemoryStore):
    """Finds nothing, and says when each queue has something; remembers how long it was let wait."""

    def __init__(self, due: dict[str, float | None]) -> None:
        super().__init__(clock=FakeClock())
        self._due = due
        self.waited: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def claim(self, queue: str, limit: int, *, worker: str, lease: float) -> Claimed:
        return Claimed([], self._due[queue])

    async def wait(self, queues: Sequence[str], timeout: float) -> None:
        self.waited.set_result(timeout)
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("due", "timeout"),
    [
        ({"a": None, "b": None}, 60.0),
        ({"a": 5.0, "b": None}, 5.0),
        ({"a": 5.0, "b": 2.0}, 2.0),
        ({"a": 0.0, "b": 5.0}, 0.0),
        ({"a": 5.0, "b": 0.0}, 0.0),
        ({"a": 500.0, "b": None}, 60.0),
    ],
)
async def test_the_earliest_of_all_queues_counts(
    due: dict[str, float | None], timeout: float
) -> None:
    store, clock, events = Due(due), FakeClock(), Events()
    await store.open()
    settler = Settler(store, events)
    executions = Executions(Scene().script, settler, clock, contextvars.copy_context())
    pauses = Pauses(store, settler, events=events, clock=clock)
    fetcher = Fetcher(
        store,
        ["a", "b"],
        Slots(1),
        executions,
        settler,
        Suspects(executions, settler, clock),
        pauses=pauses,
        config=configured(poll=60.0),
        events=events,
        clock=clock,
    )
    running = [asyncio.create_task(each.run()) for each in (pauses, fetcher)]
    assert await store.waited == timeout
    for task in running:
        task.cancel()


async def test_a_claim_that_took_too_long_is_given_back() -> None:
    scene = Scene(config=configured(lease=30.0))
    [id] = await scene.push()
    gate = scene.store.hold("claim")
    async with scene.alive():
        await gate.reached.wait()
        scene.fake.advance(10.5)
        gate.opened.set()
        await scene.store.until_settled()
        assert not scene.script.began, "nobody had renewed the lease: it may be another's"
        assert (await scene.store.record(id)).attempt == 0
        await scene.script.until_ended()
    assert (await scene.store.record(id)).state is State.DONE


async def test_a_claim_in_flight_when_stopping_is_given_back() -> None:
    scene = Scene()
    ids = await scene.push(2)
    gate = scene.store.hold("claim")
    async with scene.alive():
        await gate.reached.wait()
        scene.runtime.stop()
        await turns()
        gate.opened.set()
    assert not scene.script.began
    for id in ids:
        record = await scene.store.record(id)
        assert (record.state, record.attempt) == (State.READY, 0)


async def test_a_claim_that_fails_while_stopping_does_not_hold_up_the_end() -> None:
    scene = Scene()
    gate = scene.store.hold("claim")
    async with scene.alive():
        await gate.reached.wait()
        scene.store.fail("claim", times=100)
        scene.runtime.stop()
        await turns()
        gate.opened.set()
    assert scene.store.calls["claim"] == 1


async def test_nothing_is_claimed_after_a_stop() -> None:
    gate = Gated()
    scene = Scene(gate, config=configured(PoolConfig((QUEUE,), 1), drain_timeout=60.0))
    ids = await scene.push(3)
    async with scene.alive():
        await scene.script.until_began()
        scene.runtime.stop()
        gate.release(3)
        await scene.script.until_ended()
    assert len(scene.script.began) == 1
    states = [(await scene.store.record(id)).state for id in ids]
    assert states == [State.DONE, State.READY, State.READY]


async def test_fetching_pauses_while_outcomes_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settle, "CONGESTED", 3)
    scene = Scene(config=configured(PoolConfig((QUEUE,), 1)))
    await scene.push(10)
    gate = scene.store.hold("settle")
    async with scene.alive():
        await scene.script.until_ended(4)
        await turns()
        assert len(scene.script.began) == 4, "three pending are allowed, the fourth is too many"
        gate.opened.set()
        await scene.script.until_ended(10)


async def test_an_outage_ends_and_fetching_goes_on() -> None:
    scene = Scene()
    scene.store.fail("claim", times=2)
    await scene.push()
    async with scene.alive():
        await scene.script.until_ended()
    assert [name for name, _ in scene.recorder.all("service_failed")] == ["fetch-0", "fetch-0"]


async def test_every_round_trip_is_told() -> None:
    scene = Scene(config=configured(PoolConfig((QUEUE,), 2)))
    [id] = await scene.push()
    async with scene.alive():
        await scene.recorder.until("claimed", 2)
    (first_queue, first), (_, second) = scene.recorder.all("claimed")[:2]
    assert (first_queue, [claim.id for claim in first], list(second)) == (QUEUE, [id], [])


async def test_a_stop_while_a_batch_is_being_started_gives_the_rest_back() -> None:
    scene = Scene(config=configured(PoolConfig((QUEUE,), 50)))

    async def slow(claim: Claim) -> Outcome:
        scene.fake.advance(0.01)  # a whole time slice
        if len(scene.script.began) == 3:
            scene.runtime.stop()
        return DONE

    scene.script.work = slow
    ids = await scene.push(50)
    async with scene.alive():
        await scene.script.until_began(3)
    ran = len(scene.script.began)
    assert ran < 10
    records = [await scene.store.record(id) for id in ids]
    assert [record.state for record in records].count(State.DONE) == ran
    assert {(r.state, r.attempt) for r in records if r.state is not State.DONE} == {
        (State.READY, 0)
    }


async def test_many_quick_tasks_leave_turns_to_others() -> None:
    """Starting a large batch yields in time slices: here every start uses up a whole slice."""
    scene = Scene(config=configured(PoolConfig((QUEUE,), 50)))
    await scene.push(50)
    seen: list[int] = []

    async def onlooker() -> None:
        while len(scene.script.ended) < 50:
            seen.append(len(scene.script.ended))
            await asyncio.sleep(0)

    async def slow(claim: Claim) -> Outcome:
        scene.fake.advance(0.01)
        return DONE

    scene.script.work = slow
    async with scene.alive():
        await onlooker()
    assert len(set(seen)) > 40
