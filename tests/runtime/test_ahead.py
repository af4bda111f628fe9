"""One claim under way while another is started: never too many, nothing lost, no vain asking."""

import asyncio

from tests.runtime.helpers import DONE, QUEUE, Gated, Scene, configured, turns
from vtasks_asgi.core.outcome import Outcome, Release
from vtasks_asgi.runtime.config import PoolConfig
from vtasks_asgi.runtime.fetch import AHEAD_FROM
from vtasks_asgi.runtime.slots import Slots
from vtasks_asgi.runtime.suspects import SUSPECTED_AFTER
from vtasks_asgi.store.base import Claim, Claimed, State

SIZE = 20
HALF = SIZE // 2
LEASE = 30.0


def pool(size: int = SIZE, *queues: str) -> Scene:
    return Scene(config=configured(PoolConfig(queues or (QUEUE,), size), lease=LEASE))


async def test_the_next_claim_is_under_way_when_a_batch_is_started() -> None:
    scene = pool()
    asked: list[int] = []

    async def work(claim: Claim) -> Outcome:
        asked.append(len(scene.store.claimed))
        return DONE

    scene.script.work = work
    await scene.push(3 * HALF)
    async with scene.alive():
        await scene.store.until_settled(3 * HALF)
    assert asked == [2] * HALF + [3] * HALF + [4] * HALF


async def test_claims_in_the_air_and_running_tasks_never_exceed_the_slots() -> None:
    gate = Gated()
    scene = pool()
    scene.script.work = gate
    ids = await scene.push(5 * SIZE)
    async with scene.alive():
        await scene.script.until_began(SIZE)
        await turns()
        for done in range(0, 4 * SIZE, 7):
            states = [(await scene.store.record(id)).state for id in ids]
            assert states.count(State.RUNNING) <= SIZE
            gate.release(7)
            await scene.script.until_began(min(SIZE + done + 7, 5 * SIZE))
            await turns()
        gate.release(5 * SIZE)
        await scene.store.until_settled(5 * SIZE)
    assert scene.script.most == SIZE
    assert max(limit for _, limit in scene.store.claimed) == HALF


async def test_a_small_pool_claims_all_its_slots_at_once() -> None:
    scene = pool(AHEAD_FROM - 1)
    await scene.push(AHEAD_FROM - 1)
    async with scene.alive():
        await scene.store.until_settled(AHEAD_FROM - 1)
    assert scene.store.claimed[0] == (QUEUE, AHEAD_FROM - 1)


async def test_a_stop_gives_back_what_both_claims_brought() -> None:
    scene = pool()
    granted, answered = asyncio.Event(), asyncio.Event()
    claim_for_real = scene.store.claim

    async def second_answers_late(queue: str, limit: int, *, worker: str, lease: float) -> Claimed:
        claimed = await claim_for_real(queue, limit, worker=worker, lease=lease)
        if len(scene.store.claimed) == 2:
            granted.set()
            await answered.wait()
        return claimed

    async def work(claim: Claim) -> Outcome:
        scene.fake.advance(0.01)  # a whole time slice
        if len(scene.script.began) == 3:
            await granted.wait()
            scene.runtime.stop()
        return DONE

    scene.store.claim = second_answers_late  # type: ignore[method-assign]
    scene.script.work = work
    ids = await scene.push(SIZE)
    async with scene.alive():
        await scene.script.until_began(3)
        await turns()
        states = [(await scene.store.record(id)).state for id in ids]
        assert State.READY not in states[HALF:], "the second claim was not in the air"
        answered.set()
    records = [await scene.store.record(id) for id in ids]
    ran = len(scene.script.began)
    assert ran < HALF
    assert [record.state for record in records].count(State.DONE) == ran
    assert {(r.state, r.attempt) for r in records if r.state is not State.DONE} == {
        (State.READY, 0)
    }


async def test_the_end_of_a_backlog_is_asked_for_once() -> None:
    """Also when it comes out even: one empty answer, then it waits."""
    scene = pool()
    await scene.push(HALF)
    async with scene.alive():
        await scene.store.changes.until(lambda: bool(scene.store.waits))
    assert scene.store.claimed == [(QUEUE, HALF)] * 2
    assert len(scene.script.ended) == HALF


async def test_an_idle_pool_asks_once_and_waits() -> None:
    scene = pool()
    async with scene.alive():
        await scene.store.changes.until(lambda: bool(scene.store.waits))
        await turns()
        assert scene.store.claimed == [(QUEUE, HALF)]


async def test_a_failed_claim_loses_neither_slots_nor_what_another_brought() -> None:
    scene = pool()

    async def work(claim: Claim) -> Outcome:
        return DONE

    scene.script.work = work
    claim_for_real = scene.store.claim

    async def every_other_fails(queue: str, limit: int, *, worker: str, lease: float) -> Claimed:
        if len(scene.store.claimed) == 1:
            scene.store.fail("claim", times=1)
        return await claim_for_real(queue, limit, worker=worker, lease=lease)

    scene.store.claim = every_other_fails  # type: ignore[method-assign]
    await scene.push(3 * HALF)
    async with scene.alive():
        await scene.store.until_settled(3 * HALF)
    assert scene.recorder.all("service_failed"), "no claim failed"
    assert {limit for _, limit in scene.store.claimed} == {HALF}


async def test_nothing_is_in_the_air_while_a_suspect_runs_alone() -> None:
    gate = Gated()
    scene = pool()
    scene.script.work = gate
    ids = await scene.push(SIZE)
    for id in ids[:HALF]:
        scene.memory._entries[id].record.crashes = SUSPECTED_AFTER
    async with scene.alive():
        await scene.script.until_began(1)
        await turns()
        assert scene.store.claimed == [(QUEUE, HALF)]
        gate.release(SIZE)


async def test_several_queues_take_turns_in_spite_of_it() -> None:
    scene = pool(SIZE, "a", "b")
    for queue in "ab":
        await scene.push(10 * HALF, queue)
    async with scene.alive():
        await scene.store.until_settled(20 * HALF)
    order = [queue for queue, _ in scene.store.claimed]
    assert abs(order[:12].count("a") - 6) <= 2
    assert {"a", "b"} == set(order[:4])


async def test_what_may_have_run_out_while_the_loop_was_blocked_is_given_back() -> None:
    """Nobody renews what is not started yet, so a task that blocks for long makes it stale."""
    scene = pool()

    async def blocks_once(claim: Claim) -> Outcome:
        if len(scene.script.began) == 1:
            scene.fake.advance(LEASE / 2)
        return DONE

    scene.script.work = blocks_once
    ids = await scene.push(SIZE)
    async with scene.alive():
        await scene.script.until_ended(SIZE)
        await scene.store.until_settled(SIZE)
    released = [s for batch in scene.store.settlements for s in batch if s.outcome == Release(0.0)]
    assert len(released) >= HALF - 1
    assert sorted(claim.id for claim in scene.script.began) == sorted(ids)


async def test_who_waits_for_a_slot_is_wanting_one() -> None:
    slots = Slots(1)
    slots.take()
    seen = [slots.wanted]
    waiting = asyncio.create_task(slots.wait_free())
    await turns()
    seen.append(slots.wanted)
    slots.give()
    await waiting
    assert [*seen, slots.wanted] == [False, True, False]


async def test_promises_add_up() -> None:
    slots = Slots(5)
    slots.promise(2)
    slots.promise(2)
    assert slots.free == 1
    slots.redeem(2)
    assert slots.free == 3
