"""A message that was in hand at several crashes runs alone, so that its neighbours live."""

import asyncio

from tests.runtime.helpers import QUEUE, Gated, Scene, configured, turns
from vtasks_asgi.core.outcome import Outcome
from vtasks_asgi.runtime.config import PoolConfig
from vtasks_asgi.runtime.suspects import ALONE_FOR, ALONE_WITHIN, SUSPECTED_AFTER
from vtasks_asgi.store.base import Claim, State

POOLS = (PoolConfig((QUEUE,), 5), PoolConfig(("other",), 5))


class Separate:
    """Work with a gate for suspects and one for the others."""

    def __init__(self) -> None:
        self.suspects, self.others = Gated(), Gated()

    async def __call__(self, claim: Claim) -> Outcome:
        gate = self.suspects if claim.crashes else self.others
        return await gate(claim)


def scene() -> tuple[Scene, Separate]:
    work = Separate()
    return Scene(work, config=configured(*POOLS)), work


async def suspect(scene: Scene, crashes: int = SUSPECTED_AFTER) -> str:
    """A message that has been in hand at so many crashes."""
    [id] = await scene.push()
    scene.memory._entries[id].record.crashes = crashes
    return id


async def taken(scene: Scene, id: str) -> None:
    """Until it is in hand, and a little longer: time for what must not happen."""
    while (await scene.store.record(id)).state is not State.RUNNING:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await turns()


def running(scene: Scene) -> set[str]:
    ended = [claim.id for claim in scene.script.ended]
    return {claim.id for claim in scene.script.began if claim.id not in ended}


async def test_a_suspect_waits_for_the_others_and_then_runs_alone() -> None:
    world, work = scene()
    others = set(await world.push(2))
    async with world.alive():
        await world.script.until_began(2)
        suspected = await suspect(world)
        await taken(world, suspected)
        assert running(world) == others
        work.others.release(2)
        await world.script.until_began(3)
        assert running(world) == {suspected}
        [late] = await world.push()
        [elsewhere] = await world.push(queue="other")
        await turns()
        assert running(world) == {suspected}, "nothing joins it, from no pool"
        work.suspects.release()
        await world.script.until_began(5)
        assert running(world) == {late, elsewhere}
        work.others.release(2)


async def test_what_crashed_once_is_not_suspected() -> None:
    world, work = scene()
    async with world.alive():
        await world.push()
        await world.script.until_began(1)
        await suspect(world, SUSPECTED_AFTER - 1)
        await world.script.until_began(2)
        work.others.release()
        work.suspects.release()


async def test_several_suspects_run_one_after_the_other() -> None:
    world, work = scene()
    for _ in range(3):
        await suspect(world)
    async with world.alive():
        for count in (1, 2, 3):
            await world.script.until_began(count)
            await turns()
            assert len(running(world)) == 1
            work.suspects.release()
        await world.script.until_ended(3)
    assert world.script.most == 1


async def test_a_suspect_does_not_wait_for_ever() -> None:
    world, work = scene()
    await world.push()
    async with world.alive():
        await world.script.until_began(1)
        suspected = await suspect(world)
        await taken(world, suspected)
        world.fake.advance(ALONE_WITHIN + 1)
        await world.script.until_began(2)
        assert len(running(world)) == 2
        work.others.release()
        work.suspects.release()


async def test_a_long_suspect_does_not_keep_the_others_waiting_for_ever() -> None:
    world, work = scene()
    await suspect(world)
    async with world.alive():
        await world.script.until_began(1)
        await world.push()
        await turns()
        world.fake.advance(ALONE_FOR + 1)
        await world.script.until_began(2)
        work.others.release()
        work.suspects.release()


async def test_a_suspect_that_waits_when_the_worker_stops_is_given_back() -> None:
    world, work = scene()
    await world.push()
    async with world.alive():
        await world.script.until_began(1)
        suspected = await suspect(world)
        await taken(world, suspected)
        work.others.release()
    record = await world.store.record(suspected)
    assert (record.state, record.attempt, record.crashes) == (State.READY, 0, SUSPECTED_AFTER)
