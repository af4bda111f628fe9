"""Taking over what dead workers held."""

import pytest

from tests.runtime.helpers import NOTHING, QUEUE, Gated, Scene, configured
from vtasks_asgi.core.outcome import Dead, Outcome
from vtasks_asgi.core.retry import CRASH_PAUSE
from vtasks_asgi.runtime import reclaim
from vtasks_asgi.runtime.config import PoolConfig
from vtasks_asgi.store.base import Claim, State


async def abandoned(scene: Scene, count: int = 1, *, crashes: int = 0) -> list[str]:
    """Messages whose leases ran out, after so many crashes already."""
    ids = await scene.push(count)
    peer = await scene.store.peer()
    await peer.claim(QUEUE, count, worker="dead", lease=1.0)
    for _ in range(crashes):
        scene.fake.advance(2.0)
        await peer.reclaim(QUEUE, count, worker="dead", lease=1.0)
    scene.fake.advance(2.0)
    return ids


async def test_a_dead_workers_message_runs_again_and_is_told() -> None:
    scene = Scene()
    [id] = await abandoned(scene)
    async with scene.alive():
        await scene.store.until_settled(2)
    [(queue, [claim])] = scene.recorder.all("reclaimed")
    assert (queue, claim.id, claim.lost_worker) == (QUEUE, id, "dead")
    [run] = scene.script.began
    assert (run.id, run.attempt, run.crashes) == (id, 2, 1)
    assert (await scene.store.record(id)).state is State.DONE


async def test_a_lease_that_holds_is_left_alone() -> None:
    scene = Scene()
    [id] = await scene.push()
    await (await scene.store.peer()).claim(QUEUE, 1, worker="alive", lease=30.0)
    async with scene.alive():
        await scene.store.changes.until(lambda: bool(scene.store.waits))
    assert (await scene.store.record(id)).worker == "alive"
    assert not scene.recorder.all("reclaimed")


async def test_the_second_crash_waits() -> None:
    scene = Scene()
    [id] = await abandoned(scene, crashes=1)
    async with scene.alive():
        await scene.store.until_settled()
    record = await scene.store.record(id)
    assert (record.state, record.crashes) == (State.DELAYED, 2)
    assert record.run_at == scene.fake.now() + CRASH_PAUSE
    assert not scene.script.began


async def test_crashes_beyond_the_budget_make_a_dead_letter() -> None:
    scene = Scene()
    [id] = await abandoned(scene, crashes=3)
    async with scene.alive():
        await scene.store.until_settled()
    record = await scene.store.record(id)
    assert (record.state, record.reason, record.crashes) == (State.DEAD, "worker_lost", 4)
    assert not scene.script.began


async def test_dead_letters_evicted_by_a_rescue_are_counted() -> None:
    def rescue(claim: Claim) -> Outcome:
        return Dead(NOTHING, "worker_lost")

    scene = Scene(rescue=rescue, dead_letter_cap=2)
    await abandoned(scene, 5)
    async with scene.alive():
        await scene.recorder.until("evicted")
    assert scene.recorder.all("evicted") == [(QUEUE, 3)]


async def test_a_full_batch_is_followed_by_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reclaim, "BATCH", 2)
    scene = Scene(config=configured(reclaim_every=3600.0))
    await abandoned(scene, 5)
    async with scene.alive():
        await scene.recorder.until("reclaimed", 3)
    sizes = [len(claims) for _, claims in scene.recorder.all("reclaimed")]
    assert sizes == [2, 2, 1]


async def test_every_queue_is_looked_after_also_while_all_slots_are_busy() -> None:
    scene = Scene(Gated(), config=configured(PoolConfig(("a", "b"), 1)))
    await scene.push(2, "a")
    await scene.push(1, "b")
    peer = await scene.store.peer()
    await peer.claim("b", 1, worker="dead", lease=1.0)
    async with scene.alive():
        await scene.script.until_began()
        scene.fake.advance(2.0)
        [(queue, _)] = await scene.recorder.until("reclaimed")
    assert queue == "b"


async def test_a_stop_in_the_middle_leaves_nothing_held() -> None:
    scene = Scene()
    [id] = await abandoned(scene)
    gate = scene.store.hold("reclaim")
    async with scene.alive():
        await gate.reached.wait()
        scene.runtime.stop()
        gate.opened.set()
    record = await scene.store.record(id)
    assert (record.state, record.crashes) == (State.READY, 1)


async def test_an_outage_in_the_middle_counts_no_second_crash() -> None:
    scene = Scene()
    await abandoned(scene)
    scene.store.fail("settle")
    async with scene.alive():
        await scene.script.until_ended()
    assert [claim.crashes for claim in scene.script.began] == [1]
    assert len(scene.recorder.all("reclaimed")) == 1


async def test_an_outage_of_reclaim_ends_and_it_goes_on() -> None:
    scene = Scene()
    await abandoned(scene)
    scene.store.fail("reclaim")
    async with scene.alive():
        await scene.script.until_ended()
    assert [name for name, _ in scene.recorder.all("service_failed")] == ["reclaim"]
